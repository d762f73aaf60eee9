"""The practice base's scorer, as it ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import prism_cli
from mini.scorer import TEXTS
from mini.world import Picture, Thing, World, some_ground
from prism_cli.encoders.scorer import DESIGN, Scorer
from tests.mini.drawings import icons

FOLDER = Path(prism_cli.__file__).parent / "bases" / "mini" / "scorer"


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.load(FOLDER)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10e6


def test_its_words_are_the_worlds(scorer: Scorer) -> None:
    assert scorer.texts == TEXTS


def test_it_reads_grounds(scorer: Scorer, tmp_path: Path) -> None:
    """A drawing does not matter for it; chance is 1 in 187."""
    world, rng = World(icons(tmp_path)), np.random.default_rng(1)
    described = [
        Picture(thing=Thing(noun="dog", set="noto"), ground=some_ground(rng)) for _ in range(100)
    ]

    logits, designs = scorer.read(np.stack([world.draw(each, rng) for each in described]))
    read = [list(TEXTS["ground"])[i] for i in logits["ground"].argmax(-1)]

    assert np.mean([a == b.ground.words() for a, b in zip(read, described, strict=True)]) > 0.6
    assert designs.shape == (100, DESIGN)
    torch.testing.assert_close(designs.norm(dim=-1), torch.ones(100))


def test_what_is_saved_is_read_again(scorer: Scorer, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    scorer.clip.float()
    again = Scorer.load(tmp_path)

    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(again.see(x), scorer.see(x), atol=1e-3, rtol=0)
    assert again.texts == scorer.texts
