"""Concepts whose truth is known: drawn from artwork that neither base nor scorer has seen.

Twelve subjects, two styles, two patterns and two palettes; and others, on which settings may be
tried out: three subjects in every set that draws them, a style, a pattern, a palette. Each has five
references on different backgrounds, two of them with a distractor beside it, and 25 prompts. Of a
subject: ten places, five tints, two sizes, four neighbours and four other nouns, of which no true
picture is known. A style or what is worn is asked for on other nouns: in ten places, in five tints
(what is worn has a colour, so in five more places), two sizes, with four neighbours, and four times
without any of these. No prompt names a background of a reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
TRIAL_SUBJECTS = ("house", "shoe", "snail")
TRIAL_STYLE_SETS = ("emojione-v1",)
TRIAL_WORN = (("striped", "red"), (None, "pink"))
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
OTHERS = ("box", "wolf", "doll", "bag")  # the paper's (Fig. 13)
DISTRACTORS = ("drum", "banana")  # in the first and the fourth reference
PLAIN = Ground()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A prompt, the picture that it asks for, and the words in it by the scorer's attribute.

    known: whether `truth` shows the concept; else it only has the words.
    """

    template: str
    truth: Picture
    words: Mapping[str, str]
    known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """What is to be learned. noun: what all references show; None for a style, pattern, palette."""

    name: str
    kind: str
    noun: str | None
    references: tuple[Picture, ...]
    prompts: tuple[Asked, ...]


def concepts(world: World, *, trial: bool = False) -> list[Concept]:
    """All of them, or those for trying settings out, the same at each call."""
    rng = np.random.default_rng(SEED)
    if trial:
        return [
            *_subjects(_in_all_sets(world, TRIAL_SUBJECTS)),
            *_styles(world, TRIAL_STYLE_SETS, rng),
            *_worn(world, TRIAL_WORN, rng),
        ]
    return [
        *_subjects(_in_one_set(world, SUBJECTS)),
        *_styles(world, STYLE_SETS, rng),
        *_worn(world, WORN, rng),
    ]


def shows(picture: Picture) -> str:
    """What a person would say that a picture shows, but for a style or what is worn."""
    things = [thing.noun for thing in (picture.thing, picture.beside) if thing]
    return f"{' next to '.join(map(article, things))} {picture.ground.words()}"


def _sets_with(world: World, noun: str) -> list[str]:
    return [name for name in HELD_OUT if noun in world.words[name]]


def _in_one_set(world: World, nouns: Sequence[str]) -> Iterator[Thing]:
    """Each noun once, the sets by turns."""
    for k, noun in enumerate(nouns):
        sets = _sets_with(world, noun)
        yield Thing(noun=noun, set=sets[k % len(sets)])


def _in_all_sets(world: World, nouns: Sequence[str]) -> Iterator[Thing]:
    for noun in nouns:
        yield from (Thing(noun=noun, set=name) for name in _sets_with(world, noun))


def _subjects(things: Iterable[Thing]) -> Iterator[Concept]:
    for thing in things:
        yield Concept(
            name=f"{thing.noun} ({thing.set})",
            kind="subject",
            noun=thing.noun,
            references=_references([thing] * REFERENCES),
            prompts=tuple(_of_subject(thing)),
        )


def _of_subject(thing: Thing) -> Iterator[Asked]:
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
        truth = Picture(thing=thing, ground=PLAIN, beside=Thing(noun=noun, set=STYLES[0]))
        yield Asked(template=f"a * next to {article(noun)}", truth=truth, words={"beside": noun})
    for noun in OTHERS:
        truth = Picture(thing=Thing(noun=noun, set=STYLES[0]), ground=PLAIN)
        yield Asked(template=f"a * {noun}", truth=truth, words={"noun": noun}, known=False)


def _styles(world: World, sets: Sequence[str], rng: Generator) -> Iterator[Concept]:
    for name in sets:
        learned, asked = _nouns(world, name, rng)
        things = [Thing(noun=noun, set=name) for noun in learned]
        yield Concept(
            name=f"style of {name}",
            kind="style",
            noun=None,
            references=_references(things),
            prompts=tuple(_of_things([Thing(noun=noun, set=name) for noun in asked], TINTS)),
        )


def _worn(
    world: World, cloths: Sequence[tuple[str | None, str]], rng: Generator
) -> Iterator[Concept]:
    for k, (pattern, colour) in enumerate(cloths):
        name = HELD_OUT[k % len(HELD_OUT)]
        learned, asked = _nouns(world, name, rng)
        things = [Thing(noun=noun, set=name, colour=colour, pattern=pattern) for noun in learned]
        # What is learned is the cloth: the true picture is the base's own thing that wears it.
        truths = [
            Thing(noun=noun, set=hands[j % len(hands)], colour=colour, pattern=pattern)
            for j, noun in enumerate(asked)
            for hands in [world.hands(noun)]
        ]
        yield Concept(
            name=joined(colour, pattern, "pattern" if pattern else "palette"),
            kind="pattern" if pattern else "palette",
            noun=None,
            references=_references(things),
            prompts=tuple(_of_things(truths, ())),
        )


def _of_things(things: Sequence[Thing], tints: Sequence[str]) -> Iterator[Asked]:
    """What is learned, on other nouns."""
    more = iter(things)
    for ground in (*PROMPT_GROUNDS, *([] if tints else PROMPT_GROUNDS[: len(TINTS)])):
        thing, words = next(more), ground.words()
        yield _asked(f"{{}} {words}", Picture(thing=thing, ground=ground), ground=words)
    for tint in tints:
        thing = replace(next(more), colour=tint)
        yield _asked(f"a {tint} * {thing.noun}", Picture(thing=thing, ground=PLAIN), colour=tint)
    for size in ("small", "large"):
        thing = next(more)
        truth = Picture(thing=thing, ground=PLAIN, size=size)
        yield _asked(f"a {size} * {thing.noun}", truth, size=size)
    for noun in NEIGHBOURS:
        truth = Picture(thing=next(more), ground=PLAIN, beside=Thing(noun=noun, set=STYLES[0]))
        yield _asked(f"{{}} next to {article(noun)}", truth, beside=noun)
    for thing in more:
        yield _asked("{}", Picture(thing=thing, ground=PLAIN))


def _asked(template: str, truth: Picture, **words: str) -> Asked:
    """A prompt in which {} is the concept on its noun; the noun is read where it stands alone."""
    noun = truth.thing.noun if truth.thing else ""
    if "beside" not in words:
        words["noun"] = noun
    return Asked(template=template.replace("{}", f"a * {noun}"), truth=truth, words=words)


def _nouns(world: World, name: str, rng: Generator) -> tuple[list[str], list[str]]:
    """Five nouns to learn from and 25 to be asked for, all of which the set has."""
    known = {noun.word for noun in NOUNS}
    known -= {*DISTRACTORS, *NEIGHBOURS, *OTHERS, "grapes", "cherries"}
    there = [word for word in world.words[name] if word in known]
    chosen = [str(word) for word in rng.choice(there, REFERENCES + 25, replace=False)]
    return chosen[:REFERENCES], chosen[REFERENCES:]


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
