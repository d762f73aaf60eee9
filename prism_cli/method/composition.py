"""Several concepts in one: the weighted sum of low-rank deltas (supplement §13, Fig. 11).

A LoRA adds ``delta = B A`` to each layer, alpha being the rank. A sum of deltas is a delta whose
factors are the parts' factors side by side, whatever their ranks: ``[w1 B1 | w2 B2] [A1 ; A2]``.
Averaging the factors apart, as some tools do, would bring in the cross terms ``B1 A2`` and
``B2 A1``, which nobody has learned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_KEY = re.compile(r"(.+)\.lora_([AB])\.weight")


@dataclass(frozen=True, slots=True)
class Factors:
    """delta = B A of one layer. A: (r, in). B: (out, r)."""

    A: Tensor
    B: Tensor

    @property
    def delta(self) -> Tensor:
        """The full matrix (out, in)."""
        return self.B @ self.A

    @property
    def rank(self) -> int:
        """r: how many rows A has."""
        return len(self.A)


Lora = Mapping[str, Factors]
"""layer -> its factors"""


def factors_of(state: Mapping[str, Tensor]) -> dict[str, Factors]:
    """The layers of a LoRA under diffusers' keys, in fp32: ``<layer>.lora_A.weight`` and B's."""
    halves: dict[str, dict[str, Tensor]] = {}
    for key, factor in state.items():
        match = _KEY.fullmatch(key)
        assert match is not None, f"{key} is not a LoRA's"  # an archive was checked for it
        halves.setdefault(match[1], {})[match[2]] = factor.float()
    return {layer: Factors(both["A"], both["B"]) for layer, both in sorted(halves.items())}


def state_of(lora: Lora) -> dict[str, Tensor]:
    """The way back from `factors_of`."""
    return {
        f"{layer}.lora_{half}.weight": getattr(factors, half).contiguous()
        for layer, factors in lora.items()
        for half in "AB"
    }


def weighted_sum(loras: Sequence[Lora], weights: Sequence[float]) -> dict[str, Factors]:
    """The exact sum of ``w_k delta_k``, each part's rows of A together and in this order.

    A part's rank is the sum's share in every layer, also where it says nothing, so that the sum is
    of one rank throughout. A part of weight 0 leaves no rows: what is left is bit-identical to the
    sum without it.
    """
    parts = [(lora, w) for lora, w in zip(loras, weights, strict=True) if w and lora]
    summed = {}
    for layer in sorted({layer for lora, _ in parts for layer in lora}):
        like = next(lora[layer] for lora, _ in parts if layer in lora)
        blocks = [
            Factors(lora[layer].A, w * lora[layer].B)
            if layer in lora
            else Factors(like.A.new_zeros(r, like.A.shape[1]), like.B.new_zeros(len(like.B), r))
            for lora, w in parts
            for r in [rank_of(lora)]
        ]
        summed[layer] = Factors(
            torch.cat([block.A for block in blocks]), torch.cat([block.B for block in blocks], 1)
        )
    return summed


def rank_of(lora: Lora) -> int:
    """The rank of every layer; 0 of no LoRA at all."""
    return next(iter(lora.values())).rank if lora else 0


def rows_of(lora: Lora, first: int, count: int) -> dict[str, Factors]:
    """The part of a sum that has rows `first` to `first + count` of every A."""
    rows = slice(first, first + count)
    return {k: Factors(f.A[rows], f.B[:, rows]) for k, f in lora.items()} if count else {}


def truncated(lora: Lora, rank: int) -> tuple[dict[str, Factors], float]:
    """The nearest LoRA of `rank` (Eckart and Young 1936), and the share of energy that it keeps.

    Energy: the squared Frobenius norms of all deltas. With ``B = Q_B R_B`` and ``A^T = Q_A R_A``
    the singular values of B A are those of ``R_B R_A^T``, which is r x r: the full matrix is never
    made.
    """
    kept, total, nearest = 0.0, 0.0, {}
    for layer, factors in lora.items():
        Q_B, R_B = torch.linalg.qr(factors.B.double())
        Q_A, R_A = torch.linalg.qr(factors.A.double().T)
        U, S, V_T = torch.linalg.svd(R_B @ R_A.T, full_matrices=False)
        nearest[layer] = _of_rank(Q_B @ U, S, V_T @ Q_A.T, rank, factors.A)
        kept, total = kept + float(S[:rank].square().sum()), total + float(S.square().sum())
    return nearest, kept / total if total else 1.0


def factorized(deltas: Mapping[str, Tensor], rank: int) -> tuple[dict[str, Factors], float]:
    """The nearest LoRA of `rank` to full matrices (out, in), and the share of energy it keeps.

    For what is not a sum of low-rank parts any more.
    """
    kept, total, nearest = 0.0, 0.0, {}
    for layer, delta in deltas.items():
        U, S, V_T = torch.linalg.svd(delta.double(), full_matrices=False)
        nearest[layer] = _of_rank(U, S, V_T, rank, delta)
        kept, total = kept + float(S[:rank].square().sum()), total + float(S.square().sum())
    return nearest, kept / total if total else 1.0


def _of_rank(U: Tensor, S: Tensor, V_T: Tensor, rank: int, like: Tensor) -> Factors:
    """U S V^T cut to `rank`, or filled up to it with zeros; each factor has a root of S."""
    root = S[:rank].sqrt()
    A, B = root[:, None] * V_T[:rank], U[:, :rank] * root
    missing = rank - len(root)
    if missing > 0:
        A = torch.cat([A, A.new_zeros(missing, A.shape[1])])
        B = torch.cat([B, B.new_zeros(len(B), missing)], dim=1)
    return Factors(A.to(like), B.to(like))
