"""How near the drawn pictures are to the truth, which is known.

- fidelity: likeness of each picture to the clean design that it should show, scaled so that another
  design of the same noun is 0 and the true picture is 1; once by the scorer's design half, once by
  EfficientNet-Lite0, which was not trained here.
- alignment: the share of a prompt's words that the scorer finds in its pictures.
- leakage: the share of pictures in which it finds a reference's background or distractor, which no
  prompt names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.concepts import DISTRACTORS, PLAIN, WORN, Asked, Concept
from mini.artwork import HELD_OUT, SEEN
from mini.world import Picture, Thing, World
from prism_cli.encoders.scorer import Scorer, half

OTHERS = 4  # other designs of a noun, at most
SURE = 0.9  # of a distractor in a right half, which may as well hold half of one thing
SETS = (*HELD_OUT, *SEEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The numbers of one concept's pictures."""

    fidelity: float
    fidelity_net: float
    alignment: float
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
    """A concept's true pictures: (P, SIDE, SIDE, 3), and lists of others for each prompt."""

    clean: np.ndarray
    right: np.ndarray
    other: list[np.ndarray]


@dataclass(frozen=True, slots=True)
class Judge:
    """The scorer and the second opinion."""

    world: World
    scorer: Scorer
    net: Callable[[np.ndarray], Tensor]

    def truth(self, concept: Concept, seed: int = 0) -> Truth:
        """What its prompts ask for, drawn by the world."""
        rng = np.random.default_rng(seed)
        clean, right, other = [], [], []
        for asked in concept.prompts:
            thing = _thing(asked.truth)
            clean.append(self.world.draw(Picture(thing=thing, ground=PLAIN), rng))
            right.append(self.world.draw(asked.truth, rng))
            others = list(self._others(concept.kind, thing))[:OTHERS]
            drawn = [self.world.draw(replace(asked.truth, thing=each), rng) for each in others]
            other.append(np.stack(drawn))
        return Truth(clean=np.stack(clean), right=np.stack(right), other=other)

    def verdict(self, concept: Concept, drawn: np.ndarray) -> Verdict:
        """Judge `drawn` (P, K, SIDE, SIDE, 3) uint8."""
        truth = self.truth(concept)
        return Verdict(
            fidelity=self._fidelity(concept, drawn, truth, self._designs),
            fidelity_net=self._fidelity(concept, drawn, truth, self.net),
            alignment=self._alignment(concept.prompts, drawn),
            leakage=self._leakage(concept, drawn),
        )

    def _others(self, kind: str, thing: Thing) -> list[Thing]:
        """The same noun in another design; or, of what is worn, in other clothes."""
        if kind in ("pattern", "palette"):
            worn = [*WORN, (None, None)]
            return [
                replace(thing, pattern=pattern, colour=colour)
                for pattern, colour in worn
                if (pattern, colour) != (thing.pattern, thing.colour)
            ]
        return [
            replace(thing, set=name)
            for name in SETS
            if name != thing.set and thing.noun in self.world.words[name]
        ]

    def _designs(self, pictures: np.ndarray) -> Tensor:
        return self.scorer.read(pictures)[1]

    def _fidelity(
        self,
        concept: Concept,
        drawn: np.ndarray,
        truth: Truth,
        embed: Callable[[np.ndarray], Tensor],
    ) -> float:
        """Means over all prompts before they are scaled: one prompt's scale is too narrow."""
        P, K = drawn.shape[:2]
        pair = [asked.truth.beside is not None for asked in concept.prompts]
        parts = [
            truth.clean,
            _lefts(truth.right, pair),
            _lefts(drawn, pair).reshape(P * K, *drawn.shape[2:]),
        ]
        sizes = [len(each) for each in truth.other]
        parts += [_lefts(each[None], [pair[p]])[0] for p, each in enumerate(truth.other)]
        seen = embed(np.concatenate(parts))  # at once: one opinion is centred on their mean
        clean, right, mine, *other = seen.split([P, P, P * K, *sizes])
        found = (mine.view(P, K, -1) * clean[:, None]).sum(-1).mean()
        ceiling = (right * clean).sum(-1).mean()
        floor = torch.stack([(o @ clean[p]).mean() for p, o in enumerate(other)]).mean()
        return ((found - floor) / (ceiling - floor)).item()

    def _alignment(self, prompts: Sequence[Asked], drawn: np.ndarray) -> float:
        """Every word of every prompt counts once a picture."""
        P, K = drawn.shape[:2]
        pictures = drawn.reshape(P * K, *drawn.shape[2:])
        whole = self.scorer.read(pictures)[0]
        beside = self.scorer.read(half(pictures, "right"))[0]["noun"]
        hits: list[Tensor] = []
        for p, asked in enumerate(prompts):
            mine = slice(p * K, (p + 1) * K)
            for attribute, word in asked.words.items():
                name = "noun" if attribute == "beside" else attribute
                scores = beside if attribute == "beside" else whole[attribute]
                index = list(self.scorer.texts[name]).index(word)
                hits.append((scores[mine].argmax(-1) == index).float())
        return torch.cat(hits).mean().item()

    def _leakage(self, concept: Concept, drawn: np.ndarray) -> float:
        pictures = drawn.reshape(-1, *drawn.shape[2:])
        whole = self.scorer.read(pictures)[0]
        beside = self.scorer.read(half(pictures, "right"))[0]["noun"].softmax(-1)
        behind = {picture.ground.words() for picture in concept.references}
        grounds, nouns = (list(self.scorer.texts[name]) for name in ("ground", "noun"))
        unwanted = [nouns.index(noun) for noun in DISTRACTORS]
        leaked = [
            grounds[g] in behind or nouns[n] in DISTRACTORS or bool((b[unwanted] > SURE).any())
            for g, n, b in zip(
                whole["ground"].argmax(-1), whole["noun"].argmax(-1), beside, strict=True
            )
        ]
        return float(np.mean(leaked))


def _thing(picture: Picture) -> Thing:
    if picture.thing is None:
        raise ValueError("a prompt asks for a thing")
    return picture.thing


def _lefts(pictures: np.ndarray, pair: Sequence[bool]) -> np.ndarray:
    """Of a pair its left half, where the concept is: (P, ..., SIDE, SIDE, 3)."""
    out = pictures.copy()
    for p, is_pair in enumerate(pair):
        if is_pair:
            some = pictures[p : p + 1] if pictures.ndim == 4 else pictures[p]
            cut = half(some, "left")
            out[p] = cut[0] if pictures.ndim == 4 else cut
    return out
