"""The drawn world: what its pictures show and what its captions say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mini.artwork import HELD_OUT
from mini.scorer import GROUNDS, TEXTS, labels
from mini.tokenizer import words
from mini.vocabulary import (
    COLOURS,
    GROUND_COLOURS,
    NOUNS,
    PATTERNS,
    SCENES,
    SIZES,
    STYLES,
    TEXTURES,
)
from mini.world import (
    SIDE,
    Ground,
    Picture,
    Thing,
    World,
    article,
    caption,
    ground,
    held_out_cell,
    plain_caption,
    style_word,
)
from prism_cli.encoders.scorer import half
from tests.mini.drawings import icons


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(icons(tmp_path_factory.mktemp("art")))


def drawn(world: World, picture: Picture, seed: int = 0) -> np.ndarray:
    return world.draw(picture, np.random.default_rng(seed)).astype(float) / 255


def test_the_world_is_as_large_as_its_card_says() -> None:
    assert len(NOUNS) >= 100 and len({noun.word for noun in NOUNS}) == len(NOUNS)
    assert {"dog", "wolf", "cat", "doll", "teddy", "book", "box", "purse", "bag"} <= {
        noun.word for noun in NOUNS
    }
    assert (len(STYLES), len(COLOURS), len(SIZES), len(PATTERNS), len(SCENES)) == (7, 14, 3, 3, 7)


def test_no_word_means_two_nouns() -> None:
    said = [word for noun in NOUNS for word in (noun.word, *noun.synonyms)]

    assert len(said) == len(set(said))


def test_a_seed_is_a_data_set(world: World) -> None:
    def some(seed: int) -> list[tuple[Picture, bytes, str]]:
        rng = np.random.default_rng(seed)
        made = []
        for _ in range(40):
            picture = world.sample(rng)
            made.append((picture, world.draw(picture, rng).tobytes(), caption(picture, rng)))
        return made

    assert some(3) == some(3)
    assert some(3) != some(4)


def test_held_out_cells_and_sets_are_never_sampled(world: World) -> None:
    rng = np.random.default_rng(0)
    things = [
        thing
        for picture in (world.sample(rng) for _ in range(3000))
        for thing in (picture.thing, picture.beside)
        if thing is not None
    ]
    cells = {(thing.noun, thing.set) for thing in things}
    every = {(word, style) for style in STYLES for word in world.words[style]}

    assert cells == {cell for cell in every if not held_out_cell(*cell)}
    assert not {name for _, name in cells} & set(HELD_OUT)


def test_one_cell_in_twenty_is_held_out() -> None:
    held = [held_out_cell(noun.word, style) for noun in NOUNS for style in STYLES]

    assert sum(held) == round(len(held) / 20)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("colour", [None, "teal"])
def test_a_pattern_is_clipped_to_the_object(world: World, pattern: str, colour: str | None) -> None:
    """Where the drawing is transparent nothing changes; where it is opaque the pattern shows."""
    plain = Thing(noun="dog", set="noto")
    dressed = replace(plain, pattern=pattern, colour=colour)
    before, after = world.sprite(plain, 56), world.sprite(dressed, 56)

    np.testing.assert_array_equal(after[..., 3], before[..., 3])
    assert not after[before[..., 3] == 0].any()
    opaque = before[..., 3] == 1
    assert after[opaque][:, :3].std() > 0.1
    assert np.abs(after - before)[opaque].max() > 0.1


@pytest.mark.parametrize("colour", sorted(set(COLOURS) - {"golden", "silver", "gray", "white"}))
def test_a_tint_is_nearest_to_its_own_colour(world: World, colour: str) -> None:
    sprite = world.sprite(Thing(noun="cat", set="flat", colour=colour), 56)
    mean = sprite[sprite[..., 3] == 1][:, :3].mean(axis=0)
    distance = {
        name: float(np.abs(np.mean(shades, axis=0) / 255 - mean).sum())
        for name, shades in COLOURS.items()
    }

    assert min(distance, key=lambda name: distance[name]) == colour


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_what_it_covers(world: World, size: str) -> None:
    white = Ground()
    picture = Picture(thing=Thing(noun="fox", set="noto", colour="black"), ground=white, size=size)
    dark = drawn(world, picture).mean(axis=-1) < 0.6
    sprite = world.sprite(Thing(noun="fox", set="noto"), SIZES[size])

    assert dark.sum() == pytest.approx((sprite[..., 3] > 0.5).sum(), rel=0.05)


def test_the_first_of_a_pair_stands_on_the_left(world: World) -> None:
    red, blue = (Thing(noun="fox", set="noto", colour=colour) for colour in ("red", "blue"))
    picture = drawn(world, Picture(thing=red, beside=blue, ground=Ground()))
    redness = picture[..., 0] - picture[..., 2]

    assert redness[:, : SIDE // 2].max() > 0.5 and redness[:, : SIDE // 2].min() > -0.2
    assert redness[:, SIDE // 2 :].min() < -0.5 and redness[:, SIDE // 2 :].max() < 0.2


@pytest.mark.parametrize("what", GROUNDS.values(), ids=GROUNDS)
def test_a_ground_fills_the_picture(what: Ground) -> None:
    canvas = ground(what, np.random.default_rng(0))

    assert canvas.shape == (SIDE, SIDE, 3) and np.isfinite(canvas).all()
    if what.scene is None and what.texture is None and what.into is None:
        assert canvas.std(axis=(0, 1)).max() < 1e-3
    else:
        assert canvas.std(axis=(0, 1)).max() > 0.01


def test_grounds_are_called_what_they_are() -> None:
    assert Ground(colour="orange").words() == "on an orange background"
    assert Ground(colour="red", texture="dotted").words() == "on a dotted red background"
    assert Ground(colour="red", into="blue").words() == "on a red to blue background"
    assert Ground(scene="night").words() == "at night"
    assert len(GROUNDS) == len(GROUND_COLOURS) * (1 + len(TEXTURES) + len(GROUND_COLOURS) - 1) + 7


def test_the_plain_caption_says_all() -> None:
    picture = Picture(
        thing=Thing(noun="owl", set="flat", colour="golden", pattern="tartan"),
        beside=Thing(noun="grapes", set="flat"),
        ground=Ground(scene="beach"),
        size="medium",
    )

    assert plain_caption(picture) == "a flat golden tartan owl next to grapes on the beach"
    small = replace(picture, beside=None, size="small")
    assert plain_caption(small) == "a small flat golden tartan owl on the beach"


def test_captions_use_the_words_of_the_tokenizer_only(world: World) -> None:
    rng = np.random.default_rng(5)
    known = set(words())
    captions = [caption(world.sample(rng), rng) for _ in range(4000)]

    assert {word for text in captions for word in re.findall(r"[a-z]+", text)} <= known
    assert max(len(text.split()) for text in captions) <= 24


def test_captions_leave_out_what_makes_a_target_and_a_residual_likely(world: World) -> None:
    """Nothing, a place alone and a thing alone are all said, and none of them often."""
    rng = np.random.default_rng(6)
    captions = [caption(world.sample(rng), rng) for _ in range(4000)]
    thing = re.compile(
        rf"\b({'|'.join(n for each in NOUNS for n in (each.word, *each.synonyms))})\b"
    )
    place = re.compile(rf"background|{'|'.join(SCENES.values())}")
    share = {
        "empty": np.mean([text == "" for text in captions]),
        "place alone": np.mean([bool(text) and not thing.search(text) for text in captions]),
        "thing alone": np.mean([bool(text) and not place.search(text) for text in captions]),
    }

    assert 0.08 < share["empty"] < 0.12
    assert 0.02 < share["place alone"] < 0.08
    assert 0.1 < share["thing alone"] < 0.25


def test_labels_are_the_words_that_are_retrieved(world: World) -> None:
    rng = np.random.default_rng(7)
    for _ in range(300):
        picture = world.sample(rng)
        if picture.thing is None:
            with pytest.raises(ValueError, match="nothing"):
                labels(picture)
            continue
        right = labels(picture)
        said = {name: list(TEXTS[name])[index] for name, index in right.items() if index >= 0}
        assert said["noun"] == picture.thing.noun
        assert said["ground"] == picture.ground.words()
        assert said["size"] == picture.size
        assert ("style" in said) is (picture.thing.pattern is None)
        assert said.get("style") in {style_word(picture.thing), None}


def test_half_a_picture_keeps_its_side() -> None:
    pictures = np.arange(SIDE)[None, None, :, None] * np.ones((2, SIDE, 1, 3))

    np.testing.assert_array_equal(half(pictures, "left")[0, 0, :, 0], np.minimum(np.arange(64), 31))
    np.testing.assert_array_equal(
        half(pictures, "right")[0, 0, :, 0], np.maximum(np.arange(64), 32)
    )


@pytest.mark.parametrize(
    "phrase, whole",
    [("owl", "an owl"), ("unicorn", "a unicorn"), ("grapes", "grapes"), ("red box", "a red box")],
)
def test_articles(phrase: str, whole: str) -> None:
    assert article(phrase) == whole


def test_icons_come_from_the_folder_given(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        World(tmp_path / "icons.npz")
