"""Merges that are no sum: peft's TIES and DARE, on the layers' full deltas.

TIES (Yadav et al. 2023, "TIES-Merging") keeps each delta's largest elements and, of those, the ones
that agree with the majority's sign. DARE (Yu et al. 2024, "Language Models are Super Mario") drops
elements by chance and makes up for it by scale. peft's `add_weighted_adapter` would apply them to A
and to B apart, which is neither; its functions for tensors are used on the products here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from peft.utils.merge_utils import dare_linear, ties
from torch import Tensor

METHODS = ("ties", "dare")


def merged(
    deltas: Sequence[Tensor],
    weights: Sequence[float],
    method: str,
    density: float,
    seed: int,
) -> Tensor:
    """One layer's deltas (out, in) as one. density: the share of elements kept of each, below 1.

    DARE's chance is of `seed` alone: peft draws from the global generator, which is left as it was.
    """
    if method == "ties":
        # Weighted before the signs are elected: a concept of little weight has little of a vote.
        weighted = [weight * delta for weight, delta in zip(weights, deltas, strict=True)]
        result: Tensor = ties(weighted, torch.ones(len(weighted), dtype=deltas[0].dtype), density)
        return result
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scales = torch.tensor(list(weights), dtype=deltas[0].dtype)
        result = dare_linear(list(deltas), scales, density)
    return result
