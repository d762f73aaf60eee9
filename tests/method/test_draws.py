"""What chance decides in a step, and what it may not."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from prism_cli.method.draws import draw_batch
from tests.bases import seeded
from tests.toy import SHAPE, toy

photos, sizes, seeds = st.integers(1, 7), st.integers(1, 12), st.integers(0, 999)


@given(n=photos, batch=sizes, negatives=st.integers(0, 9), views=st.integers(1, 3), seed=seeds)
def test_anchors_are_other_photos_each_once(
    n: int, batch: int, negatives: int, views: int, seed: int
) -> None:
    """Every sample has min(negatives, N - 1) distinct anchors, and never its own photo."""
    draw = draw_batch(
        toy(), torch.zeros(n, views, *SHAPE), batch=batch, negatives=negatives, rng=seeded(seed)
    )

    assert draw.anchors.shape == (batch, min(negatives, n - 1))
    for i, anchors in zip(draw.i.tolist(), draw.anchors.tolist(), strict=True):
        assert i not in anchors
        assert len(set(anchors)) == len(anchors)
        assert set(anchors) <= set(range(n))


@given(n=photos, batch=sizes, seed=seeds)
def test_a_batch_takes_every_photo_before_it_takes_one_again(n: int, batch: int, seed: int) -> None:
    """No photo occurs twice while B <= N, and none more than ceil(B / N) times beyond."""
    draw = draw_batch(toy(), torch.zeros(n, 1, *SHAPE), batch=batch, negatives=1, rng=seeded(seed))

    counts = torch.bincount(draw.i, minlength=n)
    assert int(counts.sum()) == batch
    assert int(counts.max()) - int(counts.min()) <= 1


def test_a_single_photo_has_no_anchors() -> None:
    """With N = 1 there is nothing to exclude from, and the photo is not its own anchor."""
    draw = draw_batch(toy(), torch.zeros(1, 1, *SHAPE), batch=3, negatives=3, rng=seeded(0))

    assert draw.i.tolist() == [0, 0, 0]
    assert draw.anchors.shape == (3, 0)


def test_every_photo_view_and_anchor_is_drawn_in_the_long_run() -> None:
    """Nothing is left out: 400 draws of one show all photos, views and pairs evenly."""
    rng, z_0 = seeded(0), torch.zeros(3, 2, *SHAPE)

    draws = [draw_batch(toy(), z_0, batch=1, negatives=1, rng=rng) for _ in range(400)]

    seen = [(int(d.i), int(d.view), int(d.anchors)) for d in draws]
    counts = {combination: seen.count(combination) for combination in set(seen)}
    assert len(counts) == 3 * 2 * 2
    assert min(counts.values()) > 15  # 33 are expected; 3 standard deviations are 17


def test_the_same_generator_state_gives_the_same_draw() -> None:
    """Chance enters through the generator only."""
    torch.manual_seed(1)
    first = draw_batch(toy(), torch.zeros(4, 2, *SHAPE), batch=3, negatives=2, rng=seeded(5))
    torch.manual_seed(2)
    again = draw_batch(toy(), torch.zeros(4, 2, *SHAPE), batch=3, negatives=2, rng=seeded(5))

    for name in ("i", "view", "t", "eps", "anchors"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name
