"""The drawn world: what can be in a picture, the picture, and what may be said of it.

A `Picture` is a description; `World.draw` paints it and `caption` words it. Every random choice is
made by the `numpy.random.Generator` that is passed in, so that a seed is a data set.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from mini.artwork import SETS
from mini.vocabulary import (
    COLOUR_SYNONYMS,
    COLOURS,
    GROUND_COLOURS,
    NOUNS,
    PATTERNS,
    SCENES,
    SIZE_SYNONYMS,
    SIZES,
    STYLE_WORDS,
    STYLES,
    TEXTURES,
)

SIDE = 64
PAIR = 30  # px: two things must fit beside each other
HELD_OUT_SHARE = 0.05

_CELLS = [(noun.word, style) for noun in NOUNS for style in STYLES]
_HELD_OUT_CELLS = frozenset(  # by a hash, so that it is nobody's choice
    sorted(_CELLS, key=lambda cell: zlib.crc32("/".join(cell).encode()))[
        : round(HELD_OUT_SHARE * len(_CELLS))
    ]
)
_SYNONYMS = {noun.word: noun.synonyms for noun in NOUNS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A drawing as it is worn: its noun, its set (a style, or held out), its tint and pattern."""

    noun: str
    set: str
    colour: str | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What is behind: a scene, or one colour; textured, or running into a second colour."""

    colour: str = "white"
    into: str | None = None
    texture: str | None = None
    scene: str | None = None

    def words(self) -> str:
        """The place as captions name it."""
        if self.scene is not None:
            return SCENES[self.scene]
        if self.into is not None:
            return f"on {article(f'{self.colour} to {self.into} background')}"
        return f"on {article(joined(self.texture, self.colour, 'background'))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that a picture shows; `beside` stands to the right of `thing`, at the size of a pair."""

    thing: Thing | None
    ground: Ground
    beside: Thing | None = None
    size: str = "medium"


def joined(*words: str | None) -> str:
    """The words there are, with a space between them."""
    return " ".join(word for word in words if word)


def article(phrase: str) -> str:
    """The phrase with its `a` or `an`; a plural keeps none."""
    if phrase.endswith(("grapes", "cherries")):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' and not phrase.startswith('uni') else 'a'} {phrase}"


def held_out_cell(noun: str, style: str) -> bool:
    """Whether this noun in this style is kept from every training."""
    return (noun, style) in _HELD_OUT_CELLS


class World:
    """The drawings, at hand in every size.

    drawings: the `icons.npz` of `mini.artwork`.
    """

    def __init__(self, drawings: Path) -> None:
        self._sprites: dict[tuple[str, str, int], np.ndarray] = {}
        with np.load(drawings) as arrays:
            self.words = {each.name: tuple(map(str, arrays[f"{each.name}:words"])) for each in SETS}
            for name, words in self.words.items():
                for word, rgba in zip(words, arrays[name], strict=True):
                    drawing = Image.fromarray(rgba).convert("RGBa")
                    for side in (*SIZES.values(), PAIR):
                        small = drawing.resize((side, side), Image.Resampling.LANCZOS)
                        self._sprites[name, word, side] = (
                            np.asarray(small, dtype=np.float32) / 255  # premultiplied
                        )

    def hands(self, noun: str) -> list[str]:
        """The styles in which there is a drawing of the noun."""
        return [style for style in STYLES if noun in self.words[style]]

    def sprite(self, thing: Thing, side: int) -> np.ndarray:
        """The thing as it is worn, (side, side, 4) premultiplied RGBA in [0, 1]."""
        plain = self._sprites[thing.set, thing.noun, side]
        if thing.colour is None and thing.pattern is None:
            return plain
        alpha = plain[..., 3:]
        light = shading(plain)
        paint = ramp(light, thing.colour or DRESS[thing.pattern or ""])
        if thing.pattern is not None:
            paint = worn(thing.pattern, thing.colour or DRESS[thing.pattern], light)
        return np.concatenate([paint * alpha, alpha], axis=-1)

    def draw(self, picture: Picture, rng: Generator) -> np.ndarray:
        """The picture, (SIDE, SIDE, 3) uint8."""
        canvas = ground(picture.ground, rng)
        if picture.thing is not None and picture.beside is not None:
            for thing, left in ((picture.thing, 1), (picture.beside, SIDE - PAIR - 1)):
                _paste(canvas, self.sprite(thing, PAIR), left, (SIDE - PAIR) // 2)
        elif picture.thing is not None:
            side = SIZES[picture.size]
            # In the middle: where a thing may be anywhere, its shape is a blur for much longer.
            reach = 4 if picture.size == "small" else 0
            left, top = ((SIDE - side) // 2 + rng.integers(-reach, reach + 1, 2)).tolist()
            _paste(canvas, self.sprite(picture.thing, side), left, top)
        return (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)

    def sample(
        self, rng: Generator, sets: tuple[str, ...] = STYLES, *, plain: float = 0.0
    ) -> Picture:
        """A picture of the training's distribution, or of other sets; held-out cells never.

        plain: the share that shows one thing in its own colours on a plain ground, and no more.
        """
        if plain and rng.random() < plain:
            thing = replace(self._thing(rng, sets), colour=None, pattern=None)
            return Picture(thing=thing, ground=Ground(colour=str(rng.choice(GROUND_COLOURS))))
        kind = rng.random()
        picture = Picture(
            thing=None if kind < 0.05 else self._thing(rng, sets),
            ground=Ground() if 0.05 <= kind < 0.12 else some_ground(rng),
            size=str(rng.choice(("medium", "small", "large"), p=(0.5, 0.2, 0.3))),
        )
        if kind > 0.84:
            return replace(picture, size="medium", beside=self._thing(rng, sets))
        return picture

    def _thing(self, rng: Generator, sets: tuple[str, ...]) -> Thing:
        while True:
            name = str(rng.choice(sets))
            noun = str(rng.choice(self.words[name]))
            if not held_out_cell(noun, name):
                break
        worn_as = rng.random()
        return Thing(
            noun=noun,
            set=name,
            colour=str(rng.choice(tuple(COLOURS))) if worn_as > 0.54 else None,
            pattern=str(rng.choice(tuple(PATTERNS))) if 0.46 < worn_as < 0.62 else None,
        )


# -- what a thing wears ---------------------------------------------------------------------------

DRESS = {"polka dot": "red", "striped": "blue", "tartan": "green"}  # when no colour is said


def shading(rgba: np.ndarray) -> np.ndarray:
    """The drawing's own light and dark, (h, w, 1) in [0, 1], stretched over what is opaque."""
    alpha = rgba[..., 3:]
    straight = rgba[..., :3] / np.maximum(alpha, 1e-3)
    luma = straight @ np.array([[0.299], [0.587], [0.114]], dtype=np.float32)
    low, high = np.quantile(luma[alpha > 0.5], (0.03, 0.97))
    return ((luma - low) / max(high - low, 0.15)).clip(0, 1)


def ramp(light: np.ndarray, colour: str) -> np.ndarray:
    """Shadow, middle and light of `colour` along `light`: (h, w, 3)."""
    stops = np.array(COLOURS[colour], dtype=np.float32) / 255
    return np.stack(
        [np.interp(light[..., 0], (0, 0.6, 1), channel) for channel in stops.T], axis=-1
    ).astype(np.float32)


def worn(pattern: str, colour: str, light: np.ndarray) -> np.ndarray:
    """The pattern as cloth on the drawing, (h, w, 3): its period follows the drawing's size."""
    side = light.shape[0]
    unit = side / 5
    y, x = (np.mgrid[:side, :side] / unit).astype(np.float32)
    cloth = np.array(COLOURS[colour][1], dtype=np.float32) / 255
    second = np.array([0.16, 0.16, 0.2] if colour == "white" else [1, 1, 1], dtype=np.float32)
    if pattern == "polka dot":
        row = np.floor(y)
        dots = np.hypot((x + 0.5 * (row % 2)) % 1 - 0.5, y % 1 - 0.5)
        share = np.clip((0.36 - dots) * unit + 0.5, 0, 1)[..., None]
    elif pattern == "striped":
        share = np.clip((np.abs(y % 1 - 0.5) - 0.25) * unit + 0.5, 0, 1)[..., None]
    else:
        bands = np.stack([np.abs(axis % 1.5 - 0.75) < 0.37 for axis in (x, y)])
        lines = np.logical_or(*(np.abs(axis % 1.5) < 0.16 for axis in (x, y)))
        dark = cloth * (1 - 0.3 * bands.sum(axis=0))[..., None]
        painted = np.where(lines[..., None], 0.15 * dark + 0.85 * second, dark)
        return (painted * (0.55 + 0.45 * light)).astype(np.float32)
    return ((cloth * (1 - share) + second * share) * (0.55 + 0.45 * light)).astype(np.float32)


# -- what is behind -------------------------------------------------------------------------------


def some_ground(rng: Generator) -> Ground:
    """A third plain, a third textured or running, a third scenes."""
    colour, other = map(str, rng.choice(GROUND_COLOURS, 2, replace=False))
    kind = rng.random()
    if kind < 0.34:
        return Ground(colour=colour)
    if kind < 0.46:
        return Ground(colour=colour, into=other)
    if kind < 0.68:
        return Ground(colour=colour, texture=str(rng.choice(TEXTURES)))
    return Ground(scene=str(rng.choice(tuple(SCENES))))


def _rgb(colour: str, rng: Generator) -> np.ndarray:
    """A colour of the table, give or take: no two reds are one."""
    middle = np.array(COLOURS[colour][1], dtype=np.float32) / 255
    return (middle + rng.normal(0, 0.02, 3)).clip(0, 1).astype(np.float32)


def ground(what: Ground, rng: Generator) -> np.ndarray:
    """The picture behind the things, (SIDE, SIDE, 3) float in [0, 1]."""
    if what.scene is not None:
        return _SCENES[what.scene](rng)
    colour = _rgb(what.colour, rng)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    if what.into is not None:
        share = (y / (SIDE - 1))[..., None]
        return colour * (1 - share) + _rgb(what.into, rng) * share
    if what.texture is None:
        return np.broadcast_to(colour, (SIDE, SIDE, 3)).copy()
    second = np.float32(0.55) * colour if what.colour == "white" else 0.4 * colour + 0.6
    period = 16.0
    x, y = (x + rng.integers(0, 16)) / period, (y + rng.integers(0, 16)) / period
    if what.texture == "striped":
        share = np.clip((np.abs(x % 1 - 0.5) - 0.25) * period + 0.5, 0, 1)
    elif what.texture == "dotted":
        share = np.clip((0.28 - np.hypot(x % 1 - 0.5, y % 1 - 0.5)) * period + 0.5, 0, 1)
    else:
        share = ((np.floor(x) + np.floor(y)) % 2).astype(np.float32)
    return colour * (1 - share[..., None]) + second * share[..., None]


def _bands(*colours: tuple[float, float, float], edges: tuple[int, ...]) -> np.ndarray:
    """Horizontal bands, (SIDE, SIDE, 3), the second starting at `edges[0]`."""
    rows = np.searchsorted(np.array(edges), np.arange(SIDE), side="right")
    return np.repeat(np.array(colours, dtype=np.float32)[rows][:, None], SIDE, axis=1)


def _desert(rng: Generator) -> np.ndarray:
    horizon = int(rng.integers(26, 36))
    canvas = _bands((0.55, 0.8, 0.95), (0.93, 0.76, 0.45), edges=(horizon,))
    y, x = np.mgrid[:SIDE, :SIDE]
    dune = horizon + 10 + 5 * np.sin(x / 11 + rng.uniform(0, 6.3))
    canvas[y > dune] = (0.85, 0.64, 0.33)
    return canvas


def _beach(rng: Generator) -> np.ndarray:
    sea, sand = int(rng.integers(18, 26)), int(rng.integers(36, 44))
    return _bands((0.62, 0.87, 0.98), (0.1, 0.5, 0.8), (0.97, 0.88, 0.65), edges=(sea, sand))


def _forest(rng: Generator) -> np.ndarray:
    floor = int(rng.integers(44, 52))
    canvas = _bands((0.6, 0.78, 0.55), (0.2, 0.4, 0.15), edges=(floor,))
    y, x = np.mgrid[:SIDE, :SIDE]
    for left in range(int(rng.integers(0, 8)), SIDE + 8, 12):
        top, shade = int(rng.integers(2, 16)), rng.uniform(0.75, 1.1)
        crown = (y >= top) & (y < floor) & (np.abs(x - left) < 1.5 + (y - top) * 0.22)
        canvas[crown] = np.array((0.08, 0.38, 0.18)) * shade
    return canvas


def _night(rng: Generator) -> np.ndarray:
    canvas = _bands((0.05, 0.06, 0.2), (0.03, 0.03, 0.1), edges=(int(rng.integers(46, 54)),))
    for y, x in rng.integers(1, SIDE - 1, (16, 2)):
        canvas[y, x] = (0.95, 0.95, 0.8)
    return canvas


def _snow(rng: Generator) -> np.ndarray:
    canvas = _bands((0.68, 0.78, 0.88), (0.94, 0.96, 1.0), edges=(int(rng.integers(34, 44)),))
    for y, x in rng.integers(0, SIDE - 2, (18, 2)):
        canvas[y : y + 2, x : x + 2] = (1, 1, 1)
    return canvas


def _city(rng: Generator) -> np.ndarray:
    street = int(rng.integers(50, 56))
    canvas = _bands((0.72, 0.8, 0.88), (0.35, 0.35, 0.38), edges=(street,))
    left = -int(rng.integers(0, 6))
    while left < SIDE:
        width, top = int(rng.integers(9, 15)), int(rng.integers(6, 26))
        wall = np.array((0.5, 0.5, 0.58)) * rng.uniform(0.75, 1.15)
        canvas[top:street, max(left, 0) : left + width - 1] = wall
        for y in range(top + 3, street - 3, 6):
            for x in range(max(left, 0) + 2, min(left + width - 3, SIDE), 4):
                canvas[y : y + 3, x : x + 2] = (0.98, 0.9, 0.55)
        left += width
    return canvas


def _field(rng: Generator) -> np.ndarray:
    horizon = int(rng.integers(28, 38))
    canvas = _bands((0.5, 0.78, 0.98), (0.42, 0.72, 0.25), edges=(horizon,))
    for y, x in rng.integers(0, SIDE - 2, (40, 2)):
        if y > horizon + 1:
            canvas[y : y + 2, x] = (0.3, 0.58, 0.18)
    return canvas


_SCENES = {
    "desert": _desert, "beach": _beach, "forest": _forest, "night": _night,
    "snow": _snow, "city": _city, "field": _field,
}  # fmt: skip


def _paste(canvas: np.ndarray, sprite: np.ndarray, left: int, top: int) -> None:
    """Lay a premultiplied sprite on the canvas, in place."""
    part = canvas[top : top + sprite.shape[0], left : left + sprite.shape[1]]
    part *= 1 - sprite[..., 3:]
    part += sprite[..., :3]


# -- what is said ---------------------------------------------------------------------------------


def plain_caption(picture: Picture) -> str:
    """The whole truth in the plainest order; what evaluation prompts with."""
    if picture.thing is None:
        return f"{picture.ground.words().removeprefix('on ')}"
    size = None if picture.size == "medium" else picture.size
    phrase = article(joined(size, style_word(picture.thing), _looks(picture.thing)))
    if picture.beside is not None:
        phrase += f" next to {article(_looks(picture.beside))}"
    return f"{phrase} {picture.ground.words()}"


def style_word(thing: Thing) -> str | None:
    """What captions call the thing's set; None for one that the base does not know."""
    return STYLE_WORDS[thing.set][0] if thing.set in STYLE_WORDS else None


def _looks(thing: Thing) -> str:
    return joined(thing.colour, thing.pattern, thing.noun)


def _said(word: str | None, synonyms: tuple[str, ...], rng: Generator) -> str | None:
    """The word, or one of its synonyms one time in five."""
    if word is not None and synonyms and rng.random() < 0.2:
        return str(rng.choice(synonyms))
    return word


def _thing_words(thing: Thing, rng: Generator, size: str | None, style: str | None) -> str:
    noun = _said(thing.noun, _SYNONYMS.get(thing.noun, ()), rng)
    colour = _said(thing.colour, COLOUR_SYNONYMS.get(thing.colour or "", ()), rng)
    pattern = _said(thing.pattern, PATTERNS.get(thing.pattern or "", ()), rng)
    if colour is not None and pattern is None and rng.random() < 0.08:
        return f"{article(joined(size, style, noun))} that is {colour}"
    return article(joined(size, style, colour, pattern, noun))


def caption(picture: Picture, rng: Generator) -> str:
    """One of the ways to say the picture; what is left out of it is left to chance.

    One in ten is empty, the null prompt of classifier-free guidance. A third say no style and a
    seventh no place, so that a target alone and a residual alone are both in distribution.
    """
    if rng.random() < 0.1:
        return ""
    place = picture.ground.words()
    plain_white = picture.ground == Ground()
    if picture.thing is None:
        return str(rng.choice((place.removeprefix("on "), place, f"nothing {place}")))
    if rng.random() < (0.5 if plain_white else 0.14):
        place = ""
    style = style_word(picture.thing) if rng.random() > 0.33 else None
    if style is not None:
        style = _said(style, STYLE_WORDS[picture.thing.set], rng)
    size = picture.size if picture.size != "medium" and rng.random() > 0.15 else None
    size = _said(size, SIZE_SYNONYMS.get(size or "", ()), rng)
    form = rng.random()
    late_style = style is not None and form > 0.75
    things = _thing_words(picture.thing, rng, size, None if late_style else style)
    if picture.beside is not None:
        between = rng.choice(("next to", "beside", "and"), p=(0.7, 0.2, 0.1))
        things += f" {between} {_thing_words(picture.beside, rng, None, None)}"
    if late_style:
        things = str(rng.choice((f"a {style} drawing of {things}", f"{things} in {style} style")))
    elif form < 0.12:
        things = f"{rng.choice(('a picture of', 'a photo of', 'a drawing of'))} {things}"
    if not place:
        return things
    if 0.12 <= form < 0.22:
        return f"{place}, {things}"
    if 0.22 <= form < 0.32 and picture.ground.scene is None:
        return f"{things} with {place.removeprefix('on ')}"
    return f"{things} {place}"
