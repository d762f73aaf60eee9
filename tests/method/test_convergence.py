"""When a stage has converged, and the batch that is watched to tell."""

from __future__ import annotations

import pytest
import torch

from prism_cli.method.convergence import PlateauRule, evaluation_draw
from tests.bases import mini, seeded
from tests.toy import SHAPE, toy

RULE = PlateauRule(every=10, window=3, ratio=0.01)


@pytest.mark.parametrize(
    ("curve", "reached"),
    [
        ([], False),
        ([9.0], False),
        ([9, 1, 1, 1, 1], False),  # at rest, but fewer than two windows
        ([9, 5, 1, 1, 1, 1], True),
        ([9, 5, 4, 3, 2, 1], False),  # still falling
        ([9, 5, 1, 1, 1, 2], False),  # moved again at the end
        ([1, 1, 1, 9, 5, 1], False),  # at rest in the middle only
        ([9, 5, 1, 2, 1, 1, 1], True),  # looks back over one window only
        ([1, 1, 1, 1, 1, 1], False),  # never moved: no fall to be small beside
        ([9, 5, 1, 1, 1, float("nan")], False),
    ],
)
def test_plateau_rule_on_curves_made_by_hand(curve: list[float], reached: bool) -> None:
    """Reached when the last window varies less than `ratio` times the whole curve."""
    assert RULE.reached(curve) is reached


def test_a_ratio_of_zero_never_stops() -> None:
    """With ratio 0 only the cap ends a stage, even on a curve that is quite flat."""
    rule = PlateauRule(every=1, window=2, ratio=0.0)

    assert not rule.reached([5.0] + [1.0] * 20)


def test_the_threshold_is_the_ratio_of_the_two_variances() -> None:
    """[0, 2] varies by 1 and the whole of [8, 8, 0, 2] by 12.75: their ratio is 0.0784."""
    curve = [8.0, 8.0, 0.0, 2.0]

    assert PlateauRule(every=1, window=2, ratio=0.079).reached(curve)
    assert not PlateauRule(every=1, window=2, ratio=0.078).reached(curve)


def test_the_evaluation_batch_is_every_photo_at_every_one_of_its_times() -> None:
    """N photos at k times each, the first view, times spread over the schedule."""
    z_0 = torch.zeros(3, 2, 8, 16, 16)

    draw = evaluation_draw(mini(), z_0, per_photo=4, negatives=2, rng=seeded(0))

    assert draw.i.tolist() == [0, 1, 2] * 4
    assert draw.view.tolist() == [0] * 12
    assert draw.t.tolist() == [41, 125, 208, 291, 375, 458, 541, 625, 708, 791, 875, 958]
    assert draw.anchors[:3].tolist() == [[1, 2], [2, 0], [0, 1]]
    assert draw.eps.shape == (12, 8, 16, 16)


def test_the_evaluation_batch_is_the_same_each_time() -> None:
    """It depends on the photos' number and on its own generator, not on anything else."""
    torch.manual_seed(1)
    first = evaluation_draw(
        mini(), torch.zeros(2, 1, 8, 4, 4), per_photo=2, negatives=1, rng=seeded(0)
    )
    torch.manual_seed(2)
    again = evaluation_draw(
        mini(), torch.ones(2, 1, 8, 4, 4), per_photo=2, negatives=1, rng=seeded(0)
    )

    for name in ("i", "view", "t", "eps", "anchors"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name


def test_the_evaluation_batch_of_one_photo_has_no_anchors() -> None:
    """With N = 1 the exclusion part of the fixed batch is empty."""
    draw = evaluation_draw(
        toy(), torch.zeros(1, 1, *SHAPE), per_photo=2, negatives=1, rng=seeded(0)
    )

    assert draw.anchors.shape == (2, 0)
