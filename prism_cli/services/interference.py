"""The interference report of a composition: which layers clash, and what is lost to it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from PIL import Image

from prism_cli.method.composition import Factors, Lora
from prism_cli.method.evaluation import likeness_apart
from prism_cli.method.interference import (
    LayerInterference,
    layer_interference,
    overall_cosine,
    token_cosines,
)
from prism_cli.registry import strict_json
from prism_cli.reports.model import Interference, InterferingLayer, InterferingPair, KeptLikeness
from prism_cli.services.parts import Part
from prism_cli.services.recognition import PracticeJudge, agreement, own_likeness

INTERFERENCE = "compose.interference"  # among an archive's metrics
LOST = 0.1
"""Likeness lost to the composition that is worth a word."""
LOST_IN_HALF = 0.2
"""The same of a concept that has half of the picture: true pairs, so read, lose up to this much."""
SHARED_WEIGHT = 0.7
"""Of each of two LoRAs in a sum: at that both are most often in the picture (docs/results.md)."""
_MOST = 2**20  # bytes of a report in an archive
_MOST_LAYERS = 4096  # of all pairs together, each about 90 bytes; two LoRAs of SDXL share 560


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
    "style", the share of its reading of the style that agrees. halved: whether it has only half
    of the composed picture.
    """

    name: str
    measure: str
    alone: float
    composed: float
    halved: bool = False

    @property
    def suffers(self) -> bool:
        """Whether more is lost than is worth no word."""
        return self.alone - self.composed > (LOST_IN_HALF if self.halved else LOST)


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
    weights: Mapping[str, float],
    other_method: str,
) -> InterferenceReport:
    """All of it, with what to try where likeness is lost, or where layers clash and nobody looked.

    weights: of what was composed, by the names that it was given. other_method: one that might do
    better, "" for none.
    """
    suffering = [each.name for each in fidelity if each.suffers]
    said = [f"{name} loses likeness in the composition" for name in suffering]
    if suffering or not fidelity:
        said += [
            f"{pair.one} and {pair.other} clash in {len(pair.clashes)} of {len(pair.layers)} "
            f"layers, most in {pair.clashes[0].layer} (cosine {pair.clashes[0].cosine:+.2f})"
            for pair in pairs
            if pair.clashes
        ]
    if said:
        command = f"prism compose {' '.join(weights)}"
        if any(weights.values()):
            lower = ",".join(f"{weight:g}" for weight in _lowered(weights, suffering))
            said.append(f"try {command} --weights {lower}")
        if other_method:
            said.append(f"or {command} --method {other_method}")
    return InterferenceReport(pairs=pairs, fidelity=fidelity, unscored=unscored, advice=tuple(said))


def _lowered(weights: Mapping[str, float], suffering: Collection[str]) -> Iterator[float]:
    """Less of what is in the way of those that suffer; of all where that is all, or nobody."""
    in_the_way = weights.keys() - suffering
    for name, weight in weights.items():
        if not in_the_way or len(in_the_way) == len(weights):
            yield round(SHARED_WEIGHT * weight, 3)
        else:
            yield round(0.6 * weight, 3) if name in in_the_way else weight


def written_interference(found: InterferenceReport) -> str:
    """The report as the archive keeps it, in JSON; of a layer its name and its three numbers.

    Of many pairs each has only its strongest layers there, and how many there are.
    """
    most = max(1, _MOST_LAYERS // max(1, len(found.pairs)))
    pairs = [
        {
            "one": pair.one,
            "other": pair.other,
            "cosine": round(pair.cosine, 4),
            "tokens": {encoder: round(cosine, 4) for encoder, cosine in pair.tokens.items()},
            "changed": len(pair.layers),
            "clashes": len(pair.clashes),
            "layers": [
                [each.layer, *(round(x, 4) for x in (each.cosine, each.reads, each.writes))]
                for each in pair.layers[:most]
            ],
        }
        for pair in found.pairs
    ]
    likeness = [
        {
            "name": each.name,
            "measure": each.measure,
            "alone": round(each.alone, 4),
            "composed": round(each.composed, 4),
        }
        for each in found.fidelity
    ]
    return json.dumps({"pairs": pairs, "likeness": likeness, "advice": found.advice})


def read_interference(text: object) -> Interference | None:
    """What `written_interference` wrote; None for anything else, perhaps another program's."""
    try:
        content: Any = strict_json.parse(str(text).encode(), _MOST)
        return Interference(
            pairs=tuple(map(_read_pair, content["pairs"])),
            likeness=tuple(
                KeptLikeness(
                    name=str(each["name"]),
                    measure=str(each["measure"]),
                    alone=float(each["alone"]),
                    composed=float(each["composed"]),
                )
                for each in content["likeness"]
            ),
            advice=tuple(str(sentence) for sentence in content["advice"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def _read_pair(content: Any) -> InterferingPair:
    layers = tuple(_layer(*layer) for layer in content["layers"])
    return InterferingPair(
        one=str(content["one"]),
        other=str(content["other"]),
        cosine=float(content["cosine"]),
        tokens={str(name): float(value) for name, value in content["tokens"].items()},
        changed=int(content.get("changed", len(layers))),
        clashes=int(content.get("clashes", sum(layer.clashes for layer in layers))),
        layers=layers,
    )


def _layer(layer: Any, cosine: Any, reads: Any, writes: Any) -> InterferingLayer:
    found = LayerInterference(
        layer=str(layer), cosine=float(cosine), reads=float(reads), writes=float(writes)
    )
    return InterferingLayer(**asdict(found), clashes=found.clashes)


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
            composed=agreement(styles[:half], judge.styles(composed)[half:]),
        )
    designs = judge.designs(own)
    return Fidelity(
        name=part.name,
        measure="design",
        alone=own_likeness(designs),
        composed=likeness_apart(judge.designs(composed, side), designs),
        halved=side is not None,
    )
