"""The forward process: z_t and the training target for eps, v and flow models. No model in here.

One form covers the three: ``z_t = alpha_t z_0 + sigma_t eps`` (flow: alpha = 1 - t, sigma = t).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from torch import Tensor


class Parameterization(StrEnum):
    """What a base's denoiser predicts."""

    EPSILON = "eps"  # Ho et al. 2020, eq. 14
    V = "v"  # Salimans and Ho 2022, appendix D
    FLOW = "flow"  # Liu et al. 2022: the straight line's velocity


class NoiseLevel(NamedTuple):
    """alpha_t and sigma_t, each (B,)."""

    alpha: Tensor
    sigma: Tensor


def corrupt(z_0: Tensor, eps: Tensor, level: NoiseLevel) -> Tensor:
    """z_t (B, c, h, w) from z_0 and eps of that shape."""
    alpha, sigma = _broadcast(level, z_0)
    return alpha * z_0 + sigma * eps


def target(
    z_0: Tensor, eps: Tensor, level: NoiseLevel, parameterization: Parameterization
) -> Tensor:
    """What the denoiser ought to predict at z_t: (B, c, h, w)."""
    alpha, sigma = _broadcast(level, z_0)
    match parameterization:
        case Parameterization.EPSILON:
            return eps
        case Parameterization.V:
            return alpha * eps - sigma * z_0
        case Parameterization.FLOW:
            return eps - z_0


def epsilon_gap_weight(level: NoiseLevel, parameterization: Parameterization) -> Tensor:
    """w (B,) such that ``||d_eps||^2 = w ||d_prediction||^2`` for two predictions at one z_t.

    Eq. 9 is written for eps. Solving each target above for eps at fixed z_t gives
    d_eps = alpha_t d_v and d_eps = alpha_t d_flow, so an exclusion loss in the native output has
    the zero set of Eq. 9 and differs by this factor, which its w_t absorbs.
    """
    match parameterization:
        case Parameterization.EPSILON:
            return level.alpha.new_ones(level.alpha.shape)
        case Parameterization.V | Parameterization.FLOW:
            return level.alpha.square()


def _broadcast(level: NoiseLevel, like: Tensor) -> NoiseLevel:
    shape = (-1,) + (1,) * (like.ndim - 1)
    return NoiseLevel(*(part.to(like).reshape(shape) for part in level))
