"""How far two LoRAs get in each other's way, from their factors alone.

The sum of two deltas has the energy ``|D1|^2 + |D2|^2 + 2 <D1, D2>``: where the cosine of the two
is 0 each is as strong as alone. Small factors give it all: <B1 A1, B2 A2> = tr((B1^T B2)(A2 A1^T)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from prism_cli.method.composition import Factors, Lora

CLASH = 0.5
"""A cosine of 0.5 makes the energy of two equally strong deltas half more than both have. LoRAs
have little in common where their concepts have: of unrelated ones, on the practice base, a
twentieth of the layers is above 0.12 (docs/results.md)."""

SHARED = 0.5
"""Two deltas that both read and write more than half of the smaller one's directions in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInterference:
    """One layer's. cosine: of the deltas, in [-1, 1].

    reads, writes: overlap of what the two take in and of what they put out, the mean squared cosine
    of the principal angles between the subspaces, in [0, 1].
    """

    layer: str
    cosine: float
    reads: float
    writes: float

    @property
    def clashes(self) -> bool:
        """Whether one delta changes what the other does."""
        return abs(self.cosine) > CLASH or min(self.reads, self.writes) > SHARED


def layer_interference(one: Lora, other: Lora) -> list[LayerInterference]:
    """Of every layer that both have and both change; the strongest cosine first."""
    found = [
        LayerInterference(
            layer=layer,
            cosine=cosine(one[layer], other[layer]),
            reads=overlap(_reads(one[layer]), _reads(other[layer])),
            writes=overlap(_writes(one[layer]), _writes(other[layer])),
        )
        for layer in sorted(one.keys() & other.keys())
        if norm(one[layer]) and norm(other[layer])
    ]
    return sorted(found, key=lambda each: -abs(each.cosine))


def inner(one: Factors, other: Factors) -> float:
    """<D1, D2>, the sum of products of all elements."""
    between = one.B.double().T @ other.B.double()  # (r1, r2)
    return float((between * (one.A.double() @ other.A.double().T)).sum())


def norm(factors: Factors) -> float:
    """|D|, Frobenius."""
    return float(max(inner(factors, factors), 0.0) ** 0.5)


def cosine(one: Factors, other: Factors) -> float:
    """<D1, D2> / (|D1| |D2|); 0 where one of them is nothing."""
    scale = norm(one) * norm(other)
    return max(-1.0, min(1.0, inner(one, other) / scale)) if scale else 0.0


def overall_cosine(one: Lora, other: Lora) -> float:
    """Of the two LoRAs as one long vector each."""
    shared = one.keys() & other.keys()
    scale = (
        sum(norm(f) ** 2 for f in one.values()) * sum(norm(f) ** 2 for f in other.values())
    ) ** 0.5
    return sum(inner(one[layer], other[layer]) for layer in shared) / scale if scale else 0.0


def overlap(one: Tensor, other: Tensor) -> float:
    """Mean squared cosine of the principal angles between the spans of (d, r1) and (d, r2).

    Both orthonormal. 1 where the smaller lies in the larger; max(r1, r2) / d by chance.
    """
    smaller = min(one.shape[1], other.shape[1])
    return float((one.T @ other).square().sum()) / smaller if smaller else 0.0


def token_cosines(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, float]:
    """Of two targets' mean rows, in each text encoder; rows are (n, d)."""
    return {
        encoder: float(
            functional.cosine_similarity(one[encoder].mean(0), other[encoder].mean(0), dim=0)
        )
        for encoder in sorted(one.keys() & other.keys())
    }


def _reads(factors: Factors) -> Tensor:
    """An orthonormal basis of the inputs that a delta answers to: (in, rank of the delta)."""
    return _span(factors.A.double().T, factors.B.double())


def _writes(factors: Factors) -> Tensor:
    """An orthonormal basis of what a delta puts out: (out, rank of the delta)."""
    return _span(factors.B.double(), factors.A.double().T)


def _span(near: Tensor, far: Tensor) -> Tensor:
    """The column space of ``near far^T``, which may be less than that of `near` (d, r)."""
    Q, R = torch.linalg.qr(near)
    _, R_far = torch.linalg.qr(far)
    U, S, _ = torch.linalg.svd(R @ R_far.T, full_matrices=False)
    floor = S[0] * max(len(near), len(far)) * torch.finfo(S.dtype).eps
    span: Tensor = Q @ U[:, floor < S]
    return span
