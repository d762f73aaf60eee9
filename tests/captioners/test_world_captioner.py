"""The practice base's own captions: worded as its training was, and true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import prism_cli
from mini.vocabulary import COLOURS, NOUNS, PATTERNS, SIZES
from mini.world import Ground, Picture, Thing, World, plain_caption, some_ground
from prism_cli.captioners.world import (
    LOOKS,
    PAIRED,
    THRESHOLDS,
    UNSAID,
    Seen,
    WorldCaptioner,
    look,
    sure,
    unshared,
    worded,
)
from prism_cli.encoders.scorer import PLAIN, Scorer, Texts
from prism_cli.services.generate import DrawRequest, generate
from tests.mini.drawings import icons

FOLDER = Path(prism_cli.__file__).parent / "bases" / "mini" / "scorer"


def truth(picture: Picture) -> Seen:
    """What a scorer that is sure of everything would read."""
    things = tuple(
        {
            name: word
            for name, word in (
                ("noun", thing.noun),
                ("colour", thing.colour),
                ("pattern", thing.pattern),
                ("size", picture.size if picture.size != "medium" else None),
            )
            if word
        }
        for thing in (picture.thing, picture.beside)
        if thing is not None
    )
    return Seen(things, picture.ground.words())


def test_the_words_are_the_trainings(tmp_path: Path) -> None:
    """Whatever is in a picture of an unknown hand, it is worded as `plain_caption` has it."""
    world, rng = World(icons(tmp_path)), np.random.default_rng(0)
    for _ in range(2000):
        picture = world.sample(rng, ("openmoji",))  # the base has no word for its style
        assert worded(truth(picture)) == plain_caption(picture)


@pytest.mark.parametrize("noun", [noun.word for noun in NOUNS])
def test_every_article(noun: str) -> None:
    for colour in (None, "orange", "red"):
        thing = Thing(noun=noun, set="openmoji", colour=colour)
        picture = Picture(thing=thing, ground=Ground())
        assert worded(truth(picture)) == plain_caption(picture)


def test_what_is_unsure_is_left_out() -> None:
    """A colour without a noun is nothing's colour; nothing at all is no caption."""
    unsure = {"colour": "red", "size": "large"}
    owl, drum = {"noun": "owl"}, {"noun": "drum", "pattern": "tartan"}
    assert worded(Seen((unsure,), "on a blue background")) == "a blue background"
    assert worded(Seen((unsure, drum), "in the snow")) == "a tartan drum in the snow"
    assert worded(Seen((owl, drum))) == "an owl next to a tartan drum"
    assert worded(Seen((owl,))) == "an owl"
    assert worded(Seen(({"pattern": "tartan"},))) == worded(Seen(({},))) == ""


def test_it_knows_its_words() -> None:
    """Each threshold is for an attribute that the scorer answers; what is unsaid is one of its."""
    texts = Scorer.load(FOLDER).texts
    assert THRESHOLDS.keys() <= texts.keys() and "style" not in THRESHOLDS
    assert all(word in texts[attribute] for attribute, word in UNSAID.items())
    assert PAIRED.keys() <= THRESHOLDS.keys() <= {*LOOKS, "ground"}
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
        (seen.ground, picture.ground.words())
        for seen, picture in zip(read, pictures, strict=True)
        if seen.ground
    ]
    assert len(said) > 30
    assert np.mean([a == b for a, b in said]) > 0.9


def test_a_pair_is_told_from_one_thing(tmp_path: Path) -> None:
    """Of pictures that the base draws, as what is drawn in the tests is nothing that it knows."""
    scorer, place = Scorer.load(FOLDER), " on a blue background"

    def said(prompt: str) -> list[str]:
        request = DrawRequest(
            prompt=prompt, count=4, seed=0, steps=15, out=tmp_path, base="mini", force=True
        )
        pictures = [np.array(Image.open(each.path)) for each in generate(request).pictures]
        return [worded(seen) for seen in sure(scorer, np.stack(pictures))]

    pair = f"a dog next to a guitar{place}"
    assert said(pair).count(pair) >= 3
    assert said(f"a guitar{place}").count(f"a guitar{place}") >= 3


GUITAR, DOG, OWL = (0.991, 0.005, 0.004), (0.005, 0.991, 0.004), (0.004, 0.005, 0.991)
NO_GUITAR, NO_OWL = (0.009, 0.5, 0.491), (0.5, 0.491, 0.009)  # but unknown
LIKELY_DOG, LIKELY_OWL = (0.01, 0.95, 0.04), (0.01, 0.04, 0.95)
UNKNOWN = (0.4, 0.3, 0.3)


class HalvesReader:
    """A scorer that reads the nouns of `chances` in a half of that shade, and a look in the whole.

    Of a picture of two shades it is sure that it has something red and tartan, and of no noun.
    """

    texts: ClassVar[Texts] = {
        "noun": dict.fromkeys(("guitar", "dog", "owl"), ""),
        "colour": dict.fromkeys((PLAIN, "red"), ""),
        "pattern": dict.fromkeys((PLAIN, "tartan"), ""),
        "size": dict.fromkeys(("medium", "large"), ""),
        "ground": {"in the snow": ""},
    }

    def __init__(self, chances: Sequence[Sequence[float]]) -> None:
        self.chances = chances

    def read(self, pictures: np.ndarray) -> tuple[dict[str, Tensor], None]:
        sides = [(int(each[0, 0, 0]), int(each[0, -1, 0])) for each in pictures]
        look = [(1.0, 0.0) if left == right else (0.0, 1.0) for left, right in sides]
        read = {
            "noun": [self.chances[left] if left == right else UNKNOWN for left, right in sides],
            "colour": look,
            "pattern": look,
            "size": [(1.0, 0.0)] * len(sides),
            "ground": [(1.0,)] * len(sides),
        }
        return {name: torch.tensor(found).log() for name, found in read.items()}, None


def read_halves(*halves: tuple[Sequence[float], Sequence[float]]) -> list[Seen]:
    """What is read in pictures of which the left and the right half have these chances of nouns."""
    chances = [chance for pair in halves for chance in pair]
    pictures = np.zeros((len(halves), 64, 64, 3), np.uint8)
    for k, picture in enumerate(pictures):
        picture[:, :32], picture[:, 32:] = 2 * k, 2 * k + (halves[k][0] != halves[k][1])
    return sure(cast(Scorer, HalvesReader(chances)), pictures)


RED = {"colour": "red", "pattern": "tartan"}


@pytest.mark.parametrize(
    ("left", "right", "things"),
    [
        # sure of a noun that the other side rules out: that one is said, beside what is not known
        (GUITAR, NO_GUITAR, ({"noun": "guitar"}, RED)),
        (NO_OWL, OWL, (RED, {"noun": "owl"})),
        (GUITAR, DOG, ({"noun": "guitar"}, {"noun": "dog"})),
        # not sure, if of two; or not ruled out; or the same
        ((0.985, 0.01, 0.005), NO_GUITAR, (RED,)),
        (LIKELY_DOG, LIKELY_OWL, (RED,)),
        (GUITAR, (0.02, 0.5, 0.48), (RED,)),
        (GUITAR, (0.992, 0.004, 0.004), (RED,)),
    ],
)
def test_a_pair_is_told_by_the_one_noun_that_is_known(
    left: Sequence[float], right: Sequence[float], things: tuple[dict[str, str], ...]
) -> None:
    """In photos of something that is not known."""
    first, *_ = read_halves((left, right), (UNKNOWN, UNKNOWN), (UNKNOWN, UNKNOWN))
    assert first == Seen(things, "in the snow")


def test_a_look_is_not_said_of_what_stands_beside() -> None:
    """In photos of different things the unknown one is red and tartan, and the guitar is not."""
    pair, dog, owl = (GUITAR, NO_GUITAR), (DOG, DOG), (OWL, OWL)

    assert read_halves(pair, dog, owl)[0].things == (RED,)
    assert read_halves(pair, dog, dog)[0].things == ({"noun": "guitar"}, RED)
    assert read_halves(pair, dog)[0].things == ({"noun": "guitar"}, RED)  # half are known, no more
    *_, both = read_halves((GUITAR, GUITAR), (LIKELY_DOG, LIKELY_OWL))
    assert both.things == ({"noun": "dog"}, {"noun": "owl"})


def test_what_stands_beside_makes_no_photos_of_different_things() -> None:
    """Something red beside a guitar and beside an owl is learned; its red is not a look."""
    read = read_halves((GUITAR, NO_GUITAR), (NO_OWL, OWL))
    assert [worded(seen) for seen in read] == ["a guitar in the snow", "an owl in the snow"]
    assert look(read) == ""


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
        (["dog", "cat dog", "dog drum", None], [None, "cat", "drum", None]),  # pairs
        (["dog dog", "cat"], ["dog dog", "cat"]),  # once a photo
    ],
)
def test_what_photos_share_is_the_concepts(found: list[str | None], left: list[str | None]) -> None:
    """It is said of none of them, whatever else is; a ground they share is said."""

    def seen(nouns: str | None) -> Seen:
        return Seen(tuple({"noun": noun} for noun in (nouns or "").split()), "in the snow")

    def said(read: list[Seen]) -> list[str]:
        return [" ".join(thing["noun"] for thing in each.things if thing) for each in read]

    read = unshared([seen(nouns) for nouns in found])
    assert said(read) == [nouns or "" for nouns in left]
    assert all(each.ground == "in the snow" for each in read)


def test_looks_that_photos_share_are_the_concepts() -> None:
    """A pattern on two things is what was meant; the things are said."""
    tartan = [Seen(({"noun": noun, "pattern": "tartan"},)) for noun in ("dog", "cat", "owl")]
    assert [worded(each) for each in unshared(tartan)] == ["a dog", "a cat", "an owl"]


def test_different_things_share_a_look() -> None:
    """What two of them share is left out; of two dogs it may be theirs alone."""
    gray = {"colour": "gray"}
    photos = [({"noun": noun} | gray,) for noun in ("dog", "cat")]
    photos += [({"noun": "owl"}, {"noun": "drum"}), ({},), ({},)]

    def said(things: Sequence[tuple[dict[str, str], ...]]) -> list[str]:
        return [worded(each) for each in unshared([Seen(each) for each in things])]

    assert said(photos) == ["a dog", "a cat", "an owl next to a drum", "", ""]
    dogs = [photos[0], ({"noun": "dog"} | gray,), *photos[2:]]
    assert said(dogs)[:2] == ["a gray dog"] * 2
    assert said([*photos[:2], ({},), ({},), ({},)])[:2] == ["a gray dog", "a gray cat"]
    large = [({"noun": noun, "size": "large"},) for noun in ("dog", "cat")]
    assert said([*large, ({"noun": "owl"},), ({},), ({},)])[:2] == ["a large dog", "a large cat"]


@pytest.mark.parametrize(
    ("things", "shared"),
    [
        (["purple tartan dog", "purple tartan cat", "tartan owl"], "purple tartan"),
        (["silver dog", "silver cat", "large owl", "", ""], "silver"),  # two of different things
        (["silver dog", "silver dog", "owl", "", ""], ""),  # two of one thing
        (["silver", "silver", "silver dog", "", ""], ""),  # who knows of what
        (["silver dog", "silver dog", "silver dog"], ""),  # a silver dog is no look
        (["silver dog", "silver cat", "gray owl", "gray drum"], ""),  # which of both?
        (["large dog", "large cat", "owl"], ""),
        (["silver dog"], ""),
        ([], ""),
    ],
)
def test_a_look_that_photos_share(things: list[str], shared: str) -> None:
    """Its words are those that are said of none of them, where they show different things."""
    kinds = {"silver": "colour", "gray": "colour", "purple": "colour"}
    kinds |= {"tartan": "pattern", "large": "size"}

    def seen(words: str) -> Seen:
        return Seen(({kinds.get(word, "noun"): word for word in words.split()},))

    assert look([seen(words) for words in things]) == shared
