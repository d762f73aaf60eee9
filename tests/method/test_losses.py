"""The losses against loops that are written out, in float64."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from prism_cli.method.losses import exclusion_loss, reconstruction_loss
from tests.bases import seeded

SAMPLES, ANCHORS, SHAPE = 3, 2, (2, 4, 5)
SUM_OF_40 = 1e-13  # float64, 40 terms of order one: rounding in another order


def noise(count: int, seed: int) -> Tensor:
    return torch.randn(count, *SHAPE, generator=seeded(seed), dtype=torch.float64)


def mean_square(a: Tensor, b: Tensor) -> float:
    """||a - b||^2 over the number of elements, one element after another."""
    cells = list(itertools.product(*map(range, SHAPE)))
    return sum((float(a[cell]) - float(b[cell])) ** 2 for cell in cells) / len(cells)


def test_reconstruction_loss_is_the_mean_square_of_each_sample() -> None:
    """L_rec of a sample is a mean over its own elements."""
    prediction, target = noise(SAMPLES, 0), noise(SAMPLES, 1)

    loss = reconstruction_loss(prediction, target)

    expected = [mean_square(p, q) for p, q in zip(prediction, target, strict=True)]
    torch.testing.assert_close(
        loss, torch.tensor(expected, dtype=torch.float64), rtol=SUM_OF_40, atol=0
    )


def test_exclusion_loss_is_a_mean_over_elements_and_anchors() -> None:
    """The J anchors of a sample stand together, and their mean, not their sum, is its loss."""
    residual, null = noise(SAMPLES * ANCHORS, 2), noise(SAMPLES * ANCHORS, 3)

    loss = exclusion_loss(residual, null, ANCHORS)

    expected = [
        sum(mean_square(residual[k], null[k]) for k in range(b * ANCHORS, (b + 1) * ANCHORS))
        / ANCHORS
        for b in range(SAMPLES)
    ]
    torch.testing.assert_close(
        loss, torch.tensor(expected, dtype=torch.float64), rtol=SUM_OF_40, atol=0
    )


def test_exclusion_loss_does_not_move_the_null_prediction() -> None:
    """The null prediction is what the residual is compared with; no gradient reaches it."""
    residual, null = noise(2, 4).requires_grad_(), noise(2, 5).requires_grad_()

    exclusion_loss(residual, null, 1).sum().backward()

    assert null.grad is None
    cells = SHAPE[0] * SHAPE[1] * SHAPE[2]
    torch.testing.assert_close(residual.grad, 2 * (residual - null).detach() / cells)
