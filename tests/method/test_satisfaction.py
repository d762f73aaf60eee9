"""The interval of a share, against published values and its own definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism_cli.method.satisfaction import wilson_interval

PUBLISHED = 5e-5  # four decimals
FP64 = 1e-9


@pytest.mark.parametrize(
    ("satisfied", "answered", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_values(satisfied: int, answered: int, low: float, high: float) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), Table I, method 3."""
    assert wilson_interval(satisfied, answered) == pytest.approx((low, high), abs=PUBLISHED)


counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_its_ends_are_where_the_share_is_just_not_rejected(count: tuple[int, int]) -> None:
    """|share - p| = z sqrt(p (1 - p) / n): Wilson's equation, whose roots the ends are."""
    satisfied, answered = count
    share, z = satisfied / answered, 1.959963984540054

    low, high = wilson_interval(satisfied, answered)

    assert 0 <= low <= share <= high <= 1 and low < high
    for end in (low, high):
        squared = (share - end) ** 2
        assert squared == pytest.approx(z**2 * end * (1 - end) / answered, abs=FP64)


@given(counts)
def test_yes_and_no_are_mirrored(count: tuple[int, int]) -> None:
    satisfied, answered = count
    low, high = wilson_interval(satisfied, answered)

    mirrored = wilson_interval(answered - satisfied, answered)

    assert mirrored == pytest.approx((1 - high, 1 - low), abs=FP64)
    assert math.isclose(high - low, mirrored[1] - mirrored[0], abs_tol=FP64)


@pytest.mark.parametrize("count", [(0, 0), (2, 1), (-1, 3)])
def test_no_share(count: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="is no share"):
        wilson_interval(*count)
