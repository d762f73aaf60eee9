"""Concepts whose truth is known: drawn from artwork that neither base nor scorer has seen.

Twelve subjects, two styles, two patterns and two palettes. Each has five references on different
backgrounds, two of them with a distractor beside it, and 25 prompts with the very picture that each
asks for. No prompt names a background that a reference has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from mini.artwork import HELD_OUT
from mini.vocabulary import NOUNS, STYLES
from mini.world import Ground, Picture, Thing, World, article, joined

REFERENCES = 5
SEED = 20_000_000  # far from every training's
SUBJECTS = (
    *("cat", "elephant", "fish", "cactus", "teapot", "backpack"),
    *("rocket", "ghost", "bicycle", "castle", "guitar", "turtle"),
)
STYLE_SETS = ("openmoji", "streamline")
WORN = (("tartan", "purple"), ("polka dot", "orange"), (None, "silver"), (None, "teal"))
REFERENCE_GROUNDS = (
    Ground(colour="pink"),
    Ground(scene="city"),
    Ground(colour="brown", texture="checkered"),
    Ground(scene="field"),
    Ground(colour="purple", into="yellow"),
)
PROMPT_GROUNDS = (
    *(Ground(colour=colour) for colour in ("red", "blue", "white")),
    Ground(colour="green", texture="striped"),
    Ground(colour="yellow", texture="dotted"),
    *(Ground(scene=scene) for scene in ("desert", "beach", "forest", "night", "snow")),
)
TINTS = ("red", "green", "blue", "golden", "black")
NEIGHBOURS = ("tent", "rose", "cloud", "key")
DISTRACTORS = ("drum", "banana")  # in the first and the fourth reference
PLAIN = Ground()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A prompt, the picture that it asks for, and the words in it by the scorer's attribute."""

    template: str
    truth: Picture
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """What is to be learned. noun: what all references show; None for a style, pattern, palette."""

    name: str
    kind: str
    noun: str | None
    references: tuple[Picture, ...]
    prompts: tuple[Asked, ...]


def concepts(world: World) -> list[Concept]:
    """All of them, the same at each call."""
    rng = np.random.default_rng(SEED)
    return [*_subjects(world), *_styles(world, rng), *_worn(world, rng)]


def _subjects(world: World) -> Iterator[Concept]:
    for k, noun in enumerate(SUBJECTS):
        sets = [name for name in HELD_OUT if noun in world.words[name]]
        thing = Thing(noun=noun, set=sets[k % len(sets)])
        yield Concept(
            name=f"{noun} ({thing.set})",
            kind="subject",
            noun=noun,
            references=_references([thing] * REFERENCES),
            prompts=tuple(_of_subject(thing)),
        )


def _of_subject(thing: Thing) -> Iterator[Asked]:
    """Ten places, five tints, two sizes, four neighbours, four sizes in a place."""
    for ground in PROMPT_GROUNDS:
        words = ground.words()
        truth = Picture(thing=thing, ground=ground)
        yield Asked(template=f"a * {words}", truth=truth, words={"ground": words})
    for tint in TINTS:
        truth = Picture(thing=replace(thing, colour=tint), ground=PLAIN)
        yield Asked(template=f"a {tint} *", truth=truth, words={"colour": tint})
    for size in ("small", "large"):
        truth = Picture(thing=thing, ground=PLAIN, size=size)
        yield Asked(template=f"a {size} *", truth=truth, words={"size": size})
    for noun in NEIGHBOURS:
        beside = Thing(noun=noun, set=STYLES[0])
        truth = Picture(thing=thing, ground=PLAIN, beside=beside)
        yield Asked(template=f"a * next to {article(noun)}", truth=truth, words={"beside": noun})
    for k, ground in enumerate(PROMPT_GROUNDS[-4:]):
        size, words = ("small", "large")[k % 2], ground.words()
        truth = Picture(thing=thing, ground=ground, size=size)
        yield Asked(
            template=f"a {size} * {words}", truth=truth, words={"size": size, "ground": words}
        )


def _styles(world: World, rng: Generator) -> Iterator[Concept]:
    for name in STYLE_SETS:
        nouns = _nouns(world, name, rng)
        things = [Thing(noun=noun, set=name) for noun in nouns]
        yield Concept(
            name=f"style of {name}",
            kind="style",
            noun=None,
            references=_references(things[:REFERENCES]),
            prompts=tuple(_of_things(things[REFERENCES:])),
        )


def _worn(world: World, rng: Generator) -> Iterator[Concept]:
    for k, (pattern, colour) in enumerate(WORN):
        name = HELD_OUT[k % len(HELD_OUT)]
        nouns = _nouns(world, name, rng)
        things = [Thing(noun=noun, set=name, colour=colour, pattern=pattern) for noun in nouns]
        yield Concept(
            name=joined(colour, pattern, "pattern" if pattern else "palette"),
            kind="pattern" if pattern else "palette",
            noun=None,
            references=_references(things[:REFERENCES]),
            prompts=tuple(_of_things(things[REFERENCES:])),
        )


def _of_things(things: list[Thing]) -> Iterator[Asked]:
    """What is learned, on other nouns, each in a place."""
    for k, thing in enumerate(things):
        ground = PROMPT_GROUNDS[k % len(PROMPT_GROUNDS)]
        words = ground.words()
        yield Asked(
            template=f"a * {thing.noun} {words}",
            truth=Picture(thing=thing, ground=ground),
            words={"noun": thing.noun, "ground": words},
        )


def _nouns(world: World, name: str, rng: Generator) -> list[str]:
    """Five nouns to learn from and 25 to be asked for, all of which the set has."""
    known = {noun.word for noun in NOUNS} - {*DISTRACTORS, *NEIGHBOURS, "grapes", "cherries"}
    there = [word for word in world.words[name] if word in known]
    return [str(word) for word in rng.choice(there, REFERENCES + 25, replace=False)]


def _references(things: list[Thing]) -> tuple[Picture, ...]:
    """Each thing on a background of its own; something stands beside the first and the fourth."""
    beside = {0: DISTRACTORS[0], 3: DISTRACTORS[1]}
    return tuple(
        Picture(
            thing=thing,
            ground=ground,
            beside=Thing(noun=beside[k], set=STYLES[0]) if k in beside else None,
        )
        for k, (thing, ground) in enumerate(zip(things, REFERENCE_GROUNDS, strict=True))
    )
