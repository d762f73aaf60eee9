"""The practice base's own captions: worded as its training was, and true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import prism_cli
from mini.vocabulary import COLOURS, NOUNS, PATTERNS, SIZES
from mini.world import Ground, Picture, Thing, World, plain_caption, some_ground
from prism_cli.captioners.world import (
    THRESHOLDS,
    UNSAID,
    WorldCaptioner,
    sure,
    unshared,
    worded,
)
from prism_cli.encoders.scorer import PLAIN, Scorer
from tests.mini.drawings import icons

FOLDER = Path(prism_cli.__file__).parent / "bases" / "mini" / "scorer"


def truth(picture: Picture) -> dict[str, str]:
    """What a scorer that is sure of everything would read."""
    found = {"ground": picture.ground.words()}
    if picture.thing is not None:
        found["noun"] = picture.thing.noun
        if picture.thing.colour:
            found["colour"] = picture.thing.colour
        if picture.thing.pattern:
            found["pattern"] = picture.thing.pattern
        if picture.size != "medium":
            found["size"] = picture.size
    return found


def test_the_words_are_the_trainings(tmp_path: Path) -> None:
    """Whatever is in a picture of an unknown hand, it is worded as `plain_caption` has it."""
    world, rng = World(icons(tmp_path)), np.random.default_rng(0)
    for _ in range(2000):
        picture = world.sample(rng, ("openmoji",))  # the base has no word for its style
        if picture.beside is None:
            assert worded(truth(picture)) == plain_caption(picture)


@pytest.mark.parametrize("noun", [noun.word for noun in NOUNS])
def test_every_article(noun: str) -> None:
    for colour in (None, "orange", "red"):
        thing = Thing(noun=noun, set="openmoji", colour=colour)
        picture = Picture(thing=thing, ground=Ground())
        assert worded(truth(picture)) == plain_caption(picture)


def test_what_is_unsure_is_left_out() -> None:
    """A colour without a noun is nothing's colour; nothing at all is no caption."""
    assert worded({"colour": "red", "size": "large", "ground": "on a blue background"}) == (
        "a blue background"
    )
    assert worded({"noun": "owl", "ground": ""}) == "an owl"
    assert worded({"pattern": "tartan"}) == ""


def test_it_knows_its_words() -> None:
    """Each threshold is for an attribute that the scorer answers; what is unsaid is one of its."""
    texts = Scorer.load(FOLDER).texts
    assert THRESHOLDS.keys() <= texts.keys() and "style" not in THRESHOLDS
    assert all(word in texts[attribute] for attribute, word in UNSAID.items())
    assert set(texts["colour"]) == {PLAIN, *COLOURS}
    assert set(texts["pattern"]) == {PLAIN, *PATTERNS} and set(texts["size"]) == set(SIZES)


def test_what_is_said_of_a_ground_is_true(tmp_path: Path) -> None:
    """Of shapes that are nothing it knows, the place is still read, and rightly, or not said."""
    world, rng = World(icons(tmp_path)), np.random.default_rng(1)
    pictures = [
        Picture(thing=Thing(noun="dog", set="noto"), ground=some_ground(rng)) for _ in range(60)
    ]
    read = sure(Scorer.load(FOLDER), np.stack([world.draw(each, rng) for each in pictures]))

    said = [
        (words["ground"], picture.ground.words())
        for words, picture in zip(read, pictures, strict=True)
        if "ground" in words
    ]
    assert len(said) > 30
    assert np.mean([a == b for a, b in said]) > 0.9


def test_the_photos_middle_is_read() -> None:
    """Of a wide photo, the square that is learned from."""
    with Image.open(Path(__file__).parents[2] / "examples" / "zuzu" / "05.png") as picture:
        square = picture.convert("RGB").resize((128, 128))
    wide = Image.new("RGB", (512, 128), "red")
    wide.paste(square, (192, 0))

    class Shown:
        path, sha256, image = Path("x"), "", wide

    captioner = WorldCaptioner(FOLDER, [Shown()])
    captioner.connect()
    assert captioner.describe(Shown()) == "in the snow"


@pytest.mark.parametrize(
    ("found", "left"),
    [
        (["dog", "dog", "cat", None], [None, None, "cat", None]),  # half of them
        (["dog", "dog", "cat", None, None], ["dog", "dog", "cat", None, None]),
        (["dog", None], ["dog", None]),  # one photo shares nothing
        (["dog", "dog"], [None, None]),
    ],
)
def test_what_photos_share_is_the_concepts(found: list[str | None], left: list[str | None]) -> None:
    """It is said of none of them, whatever else is; a ground they share is said."""
    around = {"ground": "in the snow", "size": "small"}

    def words(noun: str | None, **more: str) -> dict[str, str]:
        return {**({"noun": noun} if noun else {}), **more}

    read = [words(noun, ground="in the snow") for noun in found]
    assert unshared(read) == [words(noun, ground="in the snow") for noun in left]
    assert unshared([around]) == [around]
    assert unshared([around] * 3) == [{"ground": "in the snow"}] * 3
