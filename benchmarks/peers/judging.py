"""How near the drawn pictures are to the truth, which is known.

- fidelity: likeness of each picture to the clean design that it should show, scaled so that other
  designs of the same noun are 0 and the true picture is 1; once by the scorer's design half, once
  by EfficientNet-Lite0, which was not trained here. What is worn may be on the noun in any of the
  base's styles: the likest counts, and 0 is the same noun in other clothes.
- alignment: the share of a prompt's words that the scorer finds in its pictures, scaled so that
  what it finds in the true pictures is 1.
- leakage: the share of pictures in which it finds a reference's background or distractor, which no
  prompt names; the row of the true pictures has its false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.concepts import (
    DISTRACTORS,
    PLAIN,
    TRIAL_WORN,
    WORN,
    Asked,
    Concept,
)
from mini.artwork import HELD_OUT
from mini.imagenet import centred
from mini.vocabulary import STYLES
from mini.world import Picture, Thing, World
from prism_cli.encoders.scorer import Scorer, half

VERSION = 2  # of what the numbers mean: rows of another are not mixed with these
TRUE = 4  # true pictures of each prompt
SURE = 0.9  # of a distractor in a right half, which may as well hold half of one thing
SETS = (*HELD_OUT, *STYLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The numbers of one concept's pictures. found: the share of words before it is scaled."""

    fidelity: float
    fidelity_net: float
    alignment: float
    found: float
    leakage: float

    @property
    def harmonic(self) -> float:
        """The harmonic mean of fidelity and alignment; 0 where either is none."""
        a, b = (min(max(value, 0.0), 1.0) for value in (self.fidelity, self.alignment))
        return 2 * a * b / (a + b) if a + b else 0.0

    def numbers(self) -> dict[str, float]:
        """All of them by name."""
        return {**asdict(self), "harmonic": self.harmonic}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A concept's true pictures, a list a prompt, each (n, SIDE, SIDE, 3).

    clean: of each prompt whose truth is known, the design on white, in every form that counts.
    right: what each prompt asks for. other: of the known ones, the noun in other designs.
    """

    clean: list[np.ndarray]
    right: list[np.ndarray]
    other: list[np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What one opinion makes of the truth: clean designs by prompt, and both ends of the scale."""

    clean: list[Tensor]
    floor: float
    ceiling: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Of a concept: the scale of each opinion, and the share of words found in true pictures."""

    scorer: Scale
    net: Scale
    middle: Tensor  # of the second opinion's features, over true pictures alone
    found: float


@dataclass(frozen=True, slots=True)
class Judge:
    """The scorer and the second opinion, whose features are raw."""

    world: World
    scorer: Scorer
    net: Callable[[np.ndarray], Tensor]
    _known: dict[str, _Known] = field(default_factory=dict)

    def truth(self, concept: Concept, seed: int = 0) -> Truth:
        """What its prompts ask for, drawn by the world."""
        rng = np.random.default_rng(seed)

        def drawn(pictures: Sequence[Picture]) -> np.ndarray:
            return np.stack([self.world.draw(picture, rng) for picture in pictures])

        known = [asked for asked in concept.prompts if asked.known]
        return Truth(
            clean=[
                drawn([Picture(thing=each, ground=PLAIN) for each in self._forms(concept, asked)])
                for asked in known
            ],
            right=[drawn([asked.truth] * TRUE) for asked in concept.prompts],
            other=[
                drawn([replace(asked.truth, thing=each) for each in self._others(concept, asked)])
                for asked in known
            ],
        )

    def verdict(self, concept: Concept, drawn: np.ndarray) -> Verdict:
        """Judge `drawn` (P, K, SIDE, SIDE, 3) uint8."""
        if concept.name not in self._known:
            self._known[concept.name] = self._learn(concept)
        known = self._known[concept.name]
        shown = [
            _concept_part(asked, pictures)
            for asked, pictures in zip(concept.prompts, drawn, strict=True)
            if asked.known
        ]
        found = self._found(concept.prompts, list(drawn))
        return Verdict(
            fidelity=_fidelity([self._designs(each) for each in shown], known.scorer),
            fidelity_net=_fidelity(
                [centred(self.net(each), known.middle) for each in shown], known.net
            ),
            alignment=found / known.found,
            found=found,
            leakage=self._leakage(concept, drawn),
        )

    def _learn(self, concept: Concept) -> _Known:
        truth = self.truth(concept)
        known = [k for k, asked in enumerate(concept.prompts) if asked.known]
        right, other = (
            [_concept_part(concept.prompts[k], each) for k, each in zip(known, some, strict=True)]
            for some in ([truth.right[k] for k in known], truth.other)
        )
        features = [[self.net(each) for each in some] for some in (truth.clean, right, other)]
        middle = torch.cat([each for some in features for each in some]).mean(0)
        return _Known(
            scorer=_scale(
                *([self._designs(e) for e in some] for some in (truth.clean, right, other))
            ),
            net=_scale(*([centred(each, middle) for each in some] for some in features)),
            middle=middle,
            found=self._found(concept.prompts, truth.right),
        )

    def _forms(self, concept: Concept, asked: Asked) -> list[Thing]:
        """The designs of which any will do."""
        thing = _thing(asked.truth)
        if concept.kind not in ("pattern", "palette"):
            return [thing]
        return [replace(thing, set=name) for name in self.world.hands(thing.noun)]

    def _others(self, concept: Concept, asked: Asked) -> list[Thing]:
        """The same noun in every other design; or, of what is worn, in other clothes."""
        thing = _thing(asked.truth)
        if concept.kind in ("pattern", "palette"):
            return [
                replace(thing, pattern=pattern, colour=colour)
                for pattern, colour in (*WORN, *TRIAL_WORN, (None, None))
                if (pattern, colour) != (thing.pattern, thing.colour)
            ]
        return [
            replace(thing, set=name)
            for name in SETS
            if name != thing.set and self._has(name, thing.noun)
        ]

    def _has(self, name: str, noun: str) -> bool:
        return noun in self.world.words[name]

    def _designs(self, pictures: np.ndarray) -> Tensor:
        return self.scorer.read(pictures)[1]

    def _found(self, prompts: Sequence[Asked], drawn: Sequence[np.ndarray]) -> float:
        """The share of words; every word of every prompt counts once a picture."""
        pictures = np.concatenate(list(drawn))
        whole = self.scorer.read(pictures)[0]
        beside = self.scorer.read(half(pictures, "right"))[0]["noun"]
        hits: list[Tensor] = []
        end = 0
        for asked, mine in zip(prompts, drawn, strict=True):
            these = slice(end, end := end + len(mine))
            for attribute, word in asked.words.items():
                name = "noun" if attribute == "beside" else attribute
                scores = beside if attribute == "beside" else whole[attribute]
                index = list(self.scorer.texts[name]).index(word)
                hits.append((scores[these].argmax(-1) == index).float())
        return torch.cat(hits).mean().item()

    def _leakage(self, concept: Concept, drawn: np.ndarray) -> float:
        pictures = drawn.reshape(-1, *drawn.shape[2:])
        ground = self.scorer.read(pictures)[0]["ground"].argmax(-1)
        beside = self.scorer.read(half(pictures, "right"))[0]["noun"].softmax(-1)
        grounds, nouns = (list(self.scorer.texts[name]) for name in ("ground", "noun"))
        behind = torch.tensor([grounds.index(each.ground.words()) for each in concept.references])
        unwanted = [nouns.index(noun) for noun in DISTRACTORS]
        leaked = torch.isin(ground, behind) | (beside[:, unwanted] > SURE).any(-1)
        return leaked.float().mean().item()


def _likest(designs: Tensor, forms: Tensor) -> Tensor:
    """Of each design (n, d), the likeness to the likest of `forms` (v, d): (n,)."""
    return (designs @ forms.T).amax(1)


def _scale(clean: Sequence[Tensor], right: Sequence[Tensor], other: Sequence[Tensor]) -> Scale:
    """Means over all prompts, before anything is scaled: one prompt's scale is too narrow."""
    floor, ceiling = (
        torch.stack([_likest(e, c).mean() for e, c in zip(some, clean, strict=True)]).mean().item()
        for some in (other, right)
    )
    return Scale(clean=list(clean), floor=floor, ceiling=ceiling)


def _fidelity(shown: Sequence[Tensor], scale: Scale) -> float:
    each = [_likest(e, c).mean() for e, c in zip(shown, scale.clean, strict=True)]
    found = torch.stack(each).mean().item()
    return (found - scale.floor) / (scale.ceiling - scale.floor)


def _concept_part(asked: Asked, pictures: np.ndarray) -> np.ndarray:
    """Of a pair its left half, where the concept is."""
    return half(pictures, "left") if asked.truth.beside is not None else pictures


def _thing(picture: Picture) -> Thing:
    if picture.thing is None:
        raise ValueError("a prompt asks for a thing")
    return picture.thing
