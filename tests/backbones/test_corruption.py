"""The forward process and its identities, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from prism_cli.backbones.corruption import (
    NoiseLevel,
    Parameterization,
    corrupt,
    epsilon_gap_weight,
    target,
)
from tests.bases import seeded

EPSILON, V, FLOW = Parameterization.EPSILON, Parameterization.V, Parameterization.FLOW
ROUNDING = 1e-12  # float64, a few operations on numbers of order one, divided by at least 0.1


def level(parameterization: Parameterization) -> NoiseLevel:
    """Four noise levels as that family has them."""
    sigma = torch.tensor([0.05, 0.3, 0.6, 0.9], dtype=torch.float64)
    alpha = 1 - sigma if parameterization is FLOW else (1 - sigma.square()).sqrt()
    return NoiseLevel(alpha, sigma)


def latents(seed: int) -> Tensor:
    return torch.randn(4, 2, 3, 3, generator=seeded(seed), dtype=torch.float64)


def wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def eps_of(prediction: Tensor, z_t: Tensor, at: NoiseLevel, kind: Parameterization) -> Tensor:
    """The noise that a prediction at z_t stands for: each family's target solved for eps.

    With z_0 = (z_t - sigma eps) / alpha: v = alpha eps - sigma z_0 gives eps = alpha v + sigma z_t
    where alpha^2 + sigma^2 = 1; u = eps - z_0 gives eps = alpha u + z_t where alpha + sigma = 1.
    """
    alpha, sigma = wide(at.alpha), wide(at.sigma)
    match kind:
        case Parameterization.EPSILON:
            return prediction
        case Parameterization.V:
            return alpha * prediction + sigma * z_t
        case Parameterization.FLOW:
            return alpha * prediction + z_t


@pytest.mark.parametrize("kind", Parameterization)
def test_the_target_recovers_the_picture_and_the_noise(kind: Parameterization) -> None:
    """A perfect prediction at z_t gives back eps, and z_0 = (z_t - sigma eps) / alpha."""
    z_0, eps, at = latents(0), latents(1), level(kind)
    z_t = corrupt(z_0, eps, at)

    found = eps_of(target(z_0, eps, at, kind), z_t, at, kind)

    torch.testing.assert_close(found, eps, rtol=0, atol=ROUNDING)
    recovered = (z_t - wide(at.sigma) * found) / wide(at.alpha)
    torch.testing.assert_close(recovered, z_0, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("kind", [V, FLOW])
def test_a_gap_of_two_predictions_is_a_gap_in_noise_times_alpha(kind: Parameterization) -> None:
    """At one z_t, d_eps = alpha_t d_v and d_eps = alpha_t d_flow."""
    z_t, at = latents(0), level(kind)
    one, other = latents(1), latents(2)

    gap = eps_of(one, z_t, at, kind) - eps_of(other, z_t, at, kind)

    torch.testing.assert_close(gap, wide(at.alpha) * (one - other), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("kind", Parameterization)
def test_the_gap_weight_turns_a_native_gap_into_one_in_noise(kind: Parameterization) -> None:
    """||d_eps||^2 = w ||d_prediction||^2, sample by sample: Eq. 9 in the base's own output."""
    z_t, at = latents(0), level(kind)
    one, other = latents(1), latents(2)

    gap = eps_of(one, z_t, at, kind) - eps_of(other, z_t, at, kind)

    weighted = epsilon_gap_weight(at, kind) * (one - other).square().sum((1, 2, 3))
    torch.testing.assert_close(gap.square().sum((1, 2, 3)), weighted, rtol=ROUNDING, atol=0)


def test_each_sample_has_its_own_noise_level() -> None:
    """z_t of sample b is alpha_b z_0 + sigma_b eps, element by element."""
    z_0, eps, at = latents(0), latents(1), level(V)

    z_t = corrupt(z_0, eps, at)

    for b in range(4):
        assert torch.equal(z_t[b], at.alpha[b] * z_0[b] + at.sigma[b] * eps[b])


def test_at_pure_noise_a_v_model_predicts_minus_the_picture() -> None:
    """alpha = 0: z_t is the noise alone, and the target -z_0; the toy of the tests stands on it."""
    z_0, eps = latents(0), latents(1)
    at = NoiseLevel(torch.zeros(4), torch.ones(4))

    assert torch.equal(corrupt(z_0, eps, at), eps)
    assert torch.equal(target(z_0, eps, at, V), -z_0)
