"""The probe that tells whose hand drew a thing, on a world of plain shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.hands import Hands
from mini.world import Picture, World
from prism_cli.backbones import catalog
from prism_cli.encoders.scorer import Scorer
from tests.mini.drawings import icons

SETS = ("noto", "openmoji")
UNSEEN = ("cat", "dog")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(icons(tmp_path_factory.mktemp("artwork")))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.load(catalog.resolve("mini").folder / "scorer")


def test_it_is_never_shown_what_it_will_be_asked_for(
    world: World, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: set[tuple[str, str]] = set()
    draw = World.draw

    def record(self: World, picture: Picture, rng: np.random.Generator) -> np.ndarray:
        assert picture.thing
        shown.add((picture.thing.set, picture.thing.noun))
        return draw(self, picture, rng)

    monkeypatch.setattr(World, "draw", record)
    Hands.learn(world, scorer, SETS, UNSEEN)

    nouns = {*world.words["noto"]} - {*UNSEEN}
    assert {*UNSEEN} <= {*world.words["noto"]}
    assert shown == {(name, noun) for name in SETS for noun in nouns}


def test_it_reads_back_what_it_has_learned(world: World, scorer: Scorer) -> None:
    """Shapes of different grays: with so few, what it has seen it knows again."""
    hands = Hands.learn(world, scorer, SETS, UNSEEN)
    nouns = sorted({*world.words["noto"]} - {*UNSEEN})

    assert hands.trusted(world, nouns) == {"noto": 1.0, "openmoji": 1.0}


def test_what_it_reads_are_probabilities(world: World, scorer: Scorer) -> None:
    hands = Hands.learn(world, scorer, SETS, UNSEEN)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)

    read = hands.read(pictures)

    assert read.shape == (3, 2) and (read >= 0).all()
    torch.testing.assert_close(read.sum(1), torch.ones(3))
