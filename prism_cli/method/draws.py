"""What chance decides in one step (Algorithm 1, lines 4, 5 and 10; Algorithm 2, lines 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from prism_cli.backbones.base import Backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One batch of B samples.

    i: (B,) photos. view: (B,) which crop of each. t: (B,) times. eps: (B, c, h, w) noise.
    anchors: (B, J) other photos, on which residual i must say nothing; J may be 0.
    """

    i: Tensor
    view: Tensor
    t: Tensor
    eps: Tensor
    anchors: Tensor


def draw_batch(
    backbone: Backbone, z_0: Tensor, *, batch: int, negatives: int, rng: Generator
) -> Draw:
    """Sample a batch from z_0 (N, V, c, h, w).

    Photos come from one random permutation after another, so that a batch holds no photo twice
    while there are others: each t_residual^(i) is then trained equally often. The anchors are drawn
    without replacement from the other photos: min(negatives, N - 1) of them.
    """
    n, views = z_0.shape[:2]
    rounds = -(-batch // n)
    i = torch.cat([torch.randperm(n, generator=rng) for _ in range(rounds)])[:batch]
    anchors = [_others(int(k), n, negatives, rng) for k in i]
    return Draw(
        i=i,
        view=torch.randint(views, (batch,), generator=rng),
        t=backbone.sample_times(batch, rng),
        eps=torch.randn(batch, *z_0.shape[2:], generator=rng).to(z_0),
        anchors=torch.stack(anchors),
    )


def _others(i: int, n: int, count: int, rng: Generator) -> Tensor:
    """min(count, n - 1) distinct photos that are not i."""
    return (i + 1 + torch.randperm(n - 1, generator=rng)[:count]) % n
