"""The interference report of a composition: which layers clash, and what is lost to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from PIL import Image

from prism_cli.method import evaluation
from prism_cli.method.composition import Factors, Lora
from prism_cli.method.interference import (
    LayerInterference,
    layer_interference,
    overall_cosine,
    token_cosines,
)
from prism_cli.services.parts import Part
from prism_cli.services.recognition import PracticeJudge, agreement, own_likeness

LOST = 0.1
"""Likeness lost to the composition that is worth a word: a tenth, as with `CLASH`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairInterference:
    """Two concepts. cosine: of their weighted deltas as a whole. tokens: cosine in each encoder.

    layers: of every layer that both change, the strongest cosine first.
    """

    one: str
    other: str
    cosine: float
    tokens: dict[str, float]
    layers: tuple[LayerInterference, ...]

    @property
    def clashes(self) -> tuple[LayerInterference, ...]:
        """The layers in which one changes what the other does."""
        return tuple(layer for layer in self.layers if layer.clashes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How like a concept's own pictures its pictures are: drawn alone, and in the composition.

    measure: "design", mean cosine of the scorer's designs, alone between different seeds; or
    "style", the share of its reading of the style that agrees.
    """

    name: str
    measure: str
    alone: float
    composed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InterferenceReport:
    """What to know of a composition before it is used. unscored: why there are no fidelities."""

    pairs: tuple[PairInterference, ...]
    fidelity: tuple[Fidelity, ...]
    unscored: str
    advice: tuple[str, ...]


def pairs_of(concepts: Sequence[Part]) -> tuple[PairInterference, ...]:
    """Every two concepts, from their factors and tokens alone."""
    return tuple(_pair(one, other) for one, other in combinations(concepts, 2))


def fidelities(
    judge: PracticeJudge,
    concepts: Sequence[Part],
    alone: Sequence[Sequence[Image.Image]],
    composed: Sequence[Image.Image],
    sides: dict[str, str],
) -> tuple[Fidelity, ...]:
    """What each concept loses: its pictures `alone` against those of all in one.

    sides: which half of a composed picture shows a concept, where the phrase puts two side by side.
    """
    return tuple(
        _fidelity(judge, part, own, composed, sides.get(part.name))
        for part, own in zip(concepts, alone, strict=True)
    )


def report(
    pairs: tuple[PairInterference, ...],
    fidelity: tuple[Fidelity, ...],
    unscored: str,
    method: str,
    can_confine: bool,
) -> InterferenceReport:
    """All of it, with what to try where layers clash or likeness is lost."""
    suffering = [each.name for each in fidelity if each.alone - each.composed > LOST]
    clashing = [pair for pair in pairs if pair.clashes]
    advice = [
        f"{pair.one} and {pair.other} clash in {len(pair.clashes)} of {len(pair.layers)} layers, "
        f"most in {pair.clashes[0].layer} (cosine {pair.clashes[0].cosine:+.2f})"
        for pair in clashing
    ]
    advice += [f"{name} loses likeness in the composition" for name in suffering]
    if advice:
        advice.append("try a lower weight of one of them, e.g. --weights 1,0.6")
        if can_confine and method != "per-token":
            advice.append("or --method per-token, where each acts only where its token attends")
    return InterferenceReport(
        pairs=pairs, fidelity=fidelity, unscored=unscored, advice=tuple(advice)
    )


def _pair(one: Part, other: Part) -> PairInterference:
    D1, D2 = (_scaled(part) for part in (one, other))
    return PairInterference(
        one=one.name,
        other=other.name,
        cosine=overall_cosine(D1, D2),
        tokens=token_cosines(one.target, other.target),
        layers=tuple(layer_interference(D1, D2)),
    )


def _scaled(part: Part) -> Lora:
    return {layer: Factors(f.A, part.scale * f.B) for layer, f in part.lora.items()}


def _fidelity(
    judge: PracticeJudge,
    part: Part,
    own: Sequence[Image.Image],
    composed: Sequence[Image.Image],
    side: str | None,
) -> Fidelity:
    if part.kind == "style":
        styles = judge.styles(own)
        half = len(own) // 2
        return Fidelity(
            name=part.name,
            measure="style",
            alone=agreement(styles[:half], styles[half:]),
            composed=agreement(styles, judge.styles(composed)),
        )
    designs = judge.designs(own)
    return Fidelity(
        name=part.name,
        measure="design",
        alone=own_likeness(designs),
        composed=evaluation.likeness(judge.designs(composed, side), designs),
    )
