"""Scores against sums written out by hand, and the bootstrap against its limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prism_cli.method.bootstrap import Interval, mean_interval
from prism_cli.method.evaluation import (
    alignment,
    cosines,
    likeness,
    likeness_among,
    residual_gap,
)
from tests.bases import seeded

FP64_SUM = 1e-12  # tens of terms


def by_hand(a: torch.Tensor, b: torch.Tensor) -> float:
    """The cosine of two vectors, term by term."""
    x, y = a.tolist(), b.tolist()
    dot = sum(p * q for p, q in zip(x, y, strict=True))
    return dot / math.sqrt(sum(p * p for p in x)) / math.sqrt(sum(q * q for q in y))


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    """Fixed embeddings of any length, in fp64 so that only the formula differs."""
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64) * 3


def test_a_known_cosine() -> None:
    """(3, 4) and (4, 3): 24 of 25."""
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0], [-6.0, -8.0]])

    assert cosines(a, b).tolist() == [[pytest.approx(0.96), pytest.approx(-1.0)]]


def test_alignment_is_each_picture_with_its_own_prompt() -> None:
    """CLIP-T: the k-th picture of prompt p with the text of p, with no other."""
    pictures, texts = features(5, 3, 7), features(5, 7, seed=1)

    found = alignment(pictures, texts)

    assert found.shape == (5, 3)
    for p in range(5):
        for k in range(3):
            assert found[p, k].item() == pytest.approx(by_hand(pictures[p, k], texts[p]), abs=1e-12)


def test_likeness_is_the_mean_over_all_pairs() -> None:
    """CLIP-I and DINO: every picture with every reference, whatever prompt it is of."""
    pictures, references = features(4, 2, 6), features(3, 6, seed=1)
    pairs = [
        by_hand(pictures[p, k], reference)
        for p in range(4)
        for k in range(2)
        for reference in references
    ]

    assert likeness(pictures, references) == pytest.approx(sum(pairs) / 24, abs=FP64_SUM)


def test_likeness_among_leaves_a_picture_and_itself_out() -> None:
    """A photo is not like itself, it is itself; and one alone is like nothing."""
    photos = features(4, 6)
    pairs = [by_hand(photos[a], photos[b]) for a in range(4) for b in range(4) if a != b]

    assert likeness_among(photos) == pytest.approx(sum(pairs) / 12, abs=FP64_SUM)
    assert likeness_among(photos[:1]) is None


def test_the_residual_gap_is_what_chance_does_not_give() -> None:
    """0 where residuals draw what no prompt draws; likeness less chance otherwise."""
    residuals, others, concept = features(3, 5), features(2, 5, seed=1), features(4, 5, seed=2)
    expected = likeness(residuals, concept) - likeness(others, concept)

    assert residual_gap(residuals, others, concept) == pytest.approx(expected, abs=FP64_SUM)
    assert residual_gap(others, others, concept) == 0
    assert residual_gap(concept, -concept, concept) > 0


@given(st.floats(0.1, 100), st.integers(0, 2**31))
def test_lengths_do_not_matter(length: float, seed: int) -> None:
    """A cosine is of directions."""
    a, b = features(3, 2, 5, seed=seed), features(4, 5, seed=seed + 1)

    assert likeness(a * length, b) == pytest.approx(likeness(a, b), abs=1e-9)
    assert -1 <= likeness(a, b) <= 1


class TestBootstrap:
    """Means over concepts."""

    @given(st.lists(st.floats(-10, 10), min_size=2, max_size=6))
    def test_it_holds_the_mean_and_stays_within_the_values(self, values: list[float]) -> None:
        found = mean_interval(values, seeded(0))

        assert found.mean == pytest.approx(sum(values) / len(values))
        assert found.low is not None and found.high is not None
        assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9

    def test_it_is_as_wide_as_theory_has_it(self) -> None:
        """Of many values it comes to mean +- 1.96 standard errors."""
        values = torch.randn(400, generator=seeded(3)).tolist()
        mean = sum(values) / 400
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / 400)

        found = mean_interval(values, seeded(0))

        assert found.low is not None and found.high is not None
        for edge, sign in ((found.low, -1), (found.high, 1)):
            # 10 000 resamples place a 2.5 % quantile to about 2 % of the standard error
            assert edge == pytest.approx(mean + sign * 1.96 * spread / 20, abs=0.006)

    def test_one_concept_has_no_interval(self) -> None:
        assert mean_interval([0.5], seeded(0)) == Interval(0.5, None, None)

    def test_nothing_has_no_mean(self) -> None:
        with pytest.raises(ValueError, match="needs a value"):
            mean_interval([], seeded(0))
