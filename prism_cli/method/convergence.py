"""The "while not converged" of Algorithms 1 and 2: a loss without chance, and a rule on its curve.

The training loss is far too noisy to watch: t alone changes it tenfold. DVAR (Voronov et al. 2023,
"Is This Loss Informative?") watches a deterministic batch instead (fixed photos, noise and t), and
stops when the variance of its recent values is a small part of the variance of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import pvariance

import torch
from torch import Generator, Tensor

from prism_cli.backbones.base import Backbone
from prism_cli.method.draws import Draw

EVALUATION_SEED = 0  # of the fixed batch's noise: the same for every training


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateauRule:
    """Stop when the last `window` evaluations vary less than `ratio` times all of them."""

    every: int  # steps between evaluations
    window: int  # evaluations
    ratio: float

    def reached(self, curve: Sequence[float]) -> bool:
        """Whether `curve`, one value per evaluation from step 0 on, has come to rest."""
        if len(curve) < 2 * self.window:
            return False
        return pvariance(curve[-self.window :]) < self.ratio * pvariance(curve)


def evaluation_draw(
    backbone: Backbone, z_0: Tensor, *, per_photo: int, negatives: int, rng: Generator
) -> Draw:
    """A fixed batch: every photo at `per_photo` times that cover the schedule, with fixed noise.

    z_0: (N, V, c, h, w). The first view of each photo is used.
    """
    n = len(z_0)
    index = torch.arange(n).repeat(per_photo)  # (N * per_photo,)
    others = (index[:, None] + 1 + torch.arange(min(negatives, n - 1))) % n  # (N * per_photo, J)
    return Draw(
        i=index,
        view=torch.zeros_like(index),
        t=backbone.spread_times(len(index)),
        eps=torch.randn(len(index), *z_0.shape[2:], generator=rng).to(z_0),
        anchors=others,
    )
