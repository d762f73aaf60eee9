"""What each residual says about each photo: Algorithm 1's line 13 as a measure, over all pairs.

``L[i, j] = ||eps(z_t^(j), t, residual_i) - eps(z_t^(j), t, null)||``. On the diagonal a residual
speaks of its own photo, and should. Off it, it speaks of photos it was not learned from: what it
says there is what the photos share, and that is the target's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from prism_cli.backbones.base import Backbone, Conditioning
from prism_cli.backbones.corruption import corrupt, epsilon_gap_weight

# Of the fixed batch's noise: the same for every concept, so that two compare; and no seed that a
# picture is usually drawn from, whose own noise would show it before it is denoised.
LEAKAGE_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Leakage:
    """The matrix L (N, N): residual i by photo j, root mean squares over elements and times."""

    matrix: Tensor

    @property
    def own(self) -> float:
        """Mean of the diagonal: what residuals say of their own photos."""
        return float(self.matrix.diagonal().mean())

    @property
    def leaked(self) -> float:
        """Mean off the diagonal: what they say of the others; 0 of a single photo."""
        n = len(self.matrix)
        off = self.matrix.sum() - self.matrix.diagonal().sum()
        return float(off) / (n * (n - 1)) if n > 1 else 0.0

    @property
    def worst(self) -> tuple[int, int]:
        """The residual and the other photo that it says most about; (0, 0) of a single photo."""
        n = len(self.matrix)
        others = self.matrix.masked_fill(torch.eye(n, dtype=torch.bool), -1.0)
        i, j = divmod(int(others.argmax()), n)
        return i, j


def leakage(
    backbone: Backbone,
    z_0: Tensor,
    residuals: Conditioning,
    null: Conditioning,
    *,
    times: int,
    rng: Generator,
) -> Leakage:
    """L over all i and j on a fixed batch: `times` times that cover the schedule, fixed noise.

    z_0: (N, c, h, w). residuals: N conditions. null: one. Both predictions are for the same z_t and
    t, those of photo j whatever i is; in units of eps, whatever the base predicts.
    """
    n = len(z_0)
    t = backbone.spread_times(times)  # (K,)
    level = backbone.noise_level(t)
    weight = epsilon_gap_weight(level, backbone.parameterization)  # (K,)
    matrix = torch.zeros(n, n)
    with torch.no_grad():
        for j in range(n):
            eps = torch.randn(times, *z_0.shape[1:], generator=rng).to(z_0)
            z_t = corrupt(z_0[j].expand_as(eps), eps, level)
            anchor = backbone.predict(z_t, t, null.take([0] * times))
            for i in range(n):
                said = backbone.predict(z_t, t, residuals.take([i] * times))
                gap = (said - anchor).square().flatten(1).mean(1)  # (K,)
                matrix[i, j] = (weight * gap).mean().sqrt()
    return Leakage(matrix)
