"""The leakage matrix, on a base whose predictions are known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from prism_cli.backbones.base import Conditioning
from prism_cli.method.conditions import residual_only
from prism_cli.method.leakage import Leakage, leakage
from prism_cli.method.tokens import ConceptTokens
from tests.bases import seeded
from tests.toy import ENCODER, recording, toy

ALPHAS = (0.6, 0.8)


def rows(*values: float) -> tuple[dict[str, Tensor], ...]:
    return tuple({ENCODER: torch.full((1, 16), value)} for value in values)


def asked(values: tuple[float, ...], times: int = 2) -> tuple[Leakage, list[object]]:
    """The leakage of constant residuals, and every call of the base."""
    base, calls = recording(toy(ALPHAS))
    tokens = ConceptTokens("x", {ENCODER: torch.zeros(1, 16)}, rows(*values))
    prompts = [residual_only("x", i) for i in range(len(values))]
    cond: Conditioning = base.encode_text(prompts, tokens.rows())
    null = base.encode_text([("with",)], tokens.rows())  # the toy's zero
    z_0 = torch.randn(len(values), 1, 4, 4, generator=seeded(1))
    return leakage(base, z_0, cond, null, times=times, rng=seeded(2)), list(calls)


def test_by_hand() -> None:
    """The toy predicts the row whatever z_t is: d_v is the row, and d_eps = alpha_t d_v."""
    found, _ = asked((0.5, -2.0, 0.0))

    scale = ((ALPHAS[0] ** 2 + ALPHAS[1] ** 2) / 2) ** 0.5
    expected = torch.tensor([[0.5], [2.0], [0.0]]).expand(3, 3) * scale
    torch.testing.assert_close(found.matrix, expected)
    assert found.own == pytest.approx(2.5 / 3 * scale)
    assert found.leaked == pytest.approx(2.5 / 3 * scale)


def test_both_branches_see_the_same_z_t_and_t() -> None:
    """For a photo: one null prediction, and each residual's, at one and the same point."""
    _, calls = asked((1.0, 2.0))

    for j in range(2):
        null, *residuals = calls[3 * j : 3 * j + 3]
        for each in residuals:
            assert torch.equal(each.z_t, null.z_t) and torch.equal(each.t, null.t)  # type: ignore[attr-defined]
            assert not each.with_gradient  # type: ignore[attr-defined]
    assert not torch.equal(calls[0].z_t, calls[3].z_t)  # type: ignore[attr-defined]


def test_means_and_the_worst_pair() -> None:
    """The diagonal is a residual's own photo; of the rest the largest is named."""
    found = Leakage(torch.tensor([[9.0, 1.0, 2.0], [3.0, 8.0, 6.0], [0.0, 0.0, 7.0]]))

    assert (found.own, found.leaked, found.worst) == (8.0, 2.0, (1, 2))
    alone = Leakage(torch.tensor([[3.0]]))
    assert (alone.own, alone.leaked, alone.worst) == (3.0, 0.0, (0, 0))
