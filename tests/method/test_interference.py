"""Clashes from factors, against the full matrices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from prism_cli.method import interference
from prism_cli.method.composition import Factors
from prism_cli.method.interference import LayerInterference, layer_interference, overlap
from tests.strategies import some_loras

SHAPES = {"unet.a.to_q": (6, 5), "unet.b.to_k": (4, 7)}


@given(some_loras(SHAPES, all_layers=True), some_loras(SHAPES, all_layers=True))
@settings(max_examples=40, deadline=None)
def test_cosines_are_those_of_the_full_matrices(
    one: dict[str, Factors], other: dict[str, Factors]
) -> None:
    """Small factors give what all elements would."""
    for layer in SHAPES:
        D1, D2 = one[layer].delta.flatten(), other[layer].delta.flatten()
        expected = float(D1 @ D2 / (D1.norm() * D2.norm())) if D1.norm() * D2.norm() else 0.0
        assert interference.cosine(one[layer], other[layer]) == pytest.approx(expected, abs=1e-9)
    long = [torch.cat([lora[k].delta.flatten() for k in SHAPES]) for lora in (one, other)]
    scale = long[0].norm() * long[1].norm()
    expected = float(long[0] @ long[1] / scale) if scale else 0.0
    assert interference.overall_cosine(one, other) == pytest.approx(expected, abs=1e-9)


def eye(*columns: int) -> torch.Tensor:
    return torch.eye(6, dtype=torch.float64)[:, list(columns)]


def test_overlap_by_hand() -> None:
    """Equal spans 1, orthogonal 0, one shared direction of two a half, a part of another 1."""
    assert overlap(eye(0, 1), eye(1, 0)) == 1.0
    assert overlap(eye(0, 1), eye(2, 3)) == 0.0
    assert overlap(eye(0, 1), eye(1, 2)) == 0.5
    assert overlap(eye(0, 1, 2), eye(1)) == 1.0


def test_layers_that_clash() -> None:
    """A delta against itself clashes, the strongest first; orthogonal ones do not."""
    same = Factors(eye(0, 1).T, eye(2, 3))
    apart = Factors(eye(2, 3).T, eye(4, 5))
    half_rank = Factors(torch.cat([eye(0).T, eye(0).T]), eye(2, 3))  # reads one direction only

    found = layer_interference({"a": same, "b": same, "c": same}, {"a": apart, "b": same})

    assert [each.layer for each in found] == ["b", "a"]
    assert [each.clashes for each in found] == [True, False]
    assert found[0].cosine == pytest.approx(1) and found[0].reads == pytest.approx(1)
    assert found[1] == LayerInterference(layer="a", cosine=0.0, reads=0.0, writes=0.0)
    (flat,) = layer_interference({"a": half_rank}, {"a": same})
    assert flat.reads == pytest.approx(1) and flat.writes == pytest.approx(0.5 * 2)


def test_token_cosines_by_hand() -> None:
    """Of mean rows, per encoder; encoders that one lacks are left out."""
    one = {"clip_l": torch.tensor([[1.0, 0.0], [1.0, 2.0]]), "t5": torch.ones(1, 3)}
    other = {"clip_l": torch.tensor([[0.0, 3.0]])}

    assert interference.token_cosines(one, other) == {"clip_l": pytest.approx(0.5**0.5)}
