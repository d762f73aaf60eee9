"""The embedded base as it ships: its size, and that its scorer reads."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from mini.scorer import DESIGN, TEXTS, Scorer
from mini.world import Ground, Picture, Thing, World, some_ground
from prism_cli.backbones import catalog
from tests.mini.drawings import icons

MINI = catalog.resolve("mini").folder


@cache
def scorer() -> Scorer:
    return Scorer.load(MINI / "scorer")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(icons(tmp_path_factory.mktemp("art")))


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def test_the_base_and_its_scorer_are_small_enough_to_ship() -> None:
    assert megabytes(MINI) - megabytes(MINI / "scorer") <= 40
    assert megabytes(MINI / "scorer") <= 10


def test_the_weights_are_half_precision_and_safe() -> None:
    weights = list(MINI.rglob("*.safetensors"))

    assert len(weights) == 4  # text encoder, UNet, autoencoder, scorer
    assert not [*MINI.rglob("*.bin"), *MINI.rglob("*.pt"), *MINI.rglob("*.ckpt")]
    for path in weights:
        with safe_open(path, "pt") as file:
            kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        assert kinds == {"F16"}, path


def test_the_scorer_reads_grounds_and_colours(world: World) -> None:
    """On icons that nobody trained on: grounds and colours do not depend on the drawing."""
    rng = np.random.default_rng(0)
    described = [
        Picture(
            thing=Thing(noun="dog", set="noto", colour=str(rng.choice(("red", "blue", "green")))),
            ground=some_ground(rng),
        )
        for _ in range(120)
    ]
    logits, designs = scorer().read(np.stack([world.draw(each, rng) for each in described]))
    read = {name: [list(TEXTS[name])[i] for i in logits[name].argmax(-1)] for name in TEXTS}

    grounds = [each.ground.words() for each in described]
    colours = [each.thing.colour for each in described if each.thing is not None]
    assert np.mean([a == b for a, b in zip(read["ground"], grounds, strict=True)]) > 0.9
    assert np.mean([a == b for a, b in zip(read["colour"], colours, strict=True)]) > 0.8
    assert designs.shape == (120, DESIGN)
    torch.testing.assert_close(designs.norm(dim=-1), torch.ones(120))


def test_a_design_is_likest_to_itself_whatever_is_behind_it(world: World) -> None:
    things = [Thing(noun=noun, set="noto") for noun in world.words["noto"]]
    views = []
    for ground in (Ground(colour="teal"), Ground(scene="beach")):
        rng = np.random.default_rng(1)
        pictures = [world.draw(Picture(thing=each, ground=ground), rng) for each in things]
        views.append(scorer().read(np.stack(pictures))[1])
    likeness = views[0] @ views[1].T

    assert (likeness.argmax(-1) == torch.arange(len(things))).float().mean() > 0.7
