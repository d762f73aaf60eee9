"""Composition and transfer on the practice base, against the truth of its world.

    python -m benchmarks.composition --artwork artwork --work composition

`artwork` holds the `icons.npz` of `mini.artwork`. The concepts are those of
`benchmarks/peers/concepts.py`, in drawings that neither the base nor its scorer has seen. Each is
learned by `prism train` from its five pictures, as a user would: a subject from the pictures alone,
what different things have in common (a style, a pattern, a palette) with a sentence beside each on
what it shows besides. Then:

- beside: twelve pairs of subjects, "a [one] next to a [other]", the sum at lower weights too;
- styled: twelve subjects in the style of another set, "[style] picture of a [subject]";
- moved: eight subjects on six nouns, at the weight that `prism transfer` picks, from other seeds;
- worn: the four patterns and palettes on the same nouns, where the true picture is known;
- layers: of every two of the concepts, how alike what they change is, layer by layer.

Likeness is the cosine of the scorer's designs to true drawings; its floor is other concepts' true
drawings, its ceiling true drawings among each other. A style is no design: what counts is how
probable its set's hand is to `hands.py`, its floor the base's own drawings. In a pair both are
present where each half, in whichever order fits better, is nearer to its own truth than to any
other subject's. In a style both are where the hand is the likeliest of all, and the design is
nearer to the subject, or to its noun in that style, than to that noun in any hand of the base or to
another subject. Beside every number of a composition stands what the true picture would get: the
true pair, whose halves are read alike, and the noun in the true style, which is the subject no
more; and, for two subjects, what each has beside a plain noun, where there is no second concept to
lose it to.

Each finding goes into `--out` as soon as it is known, and grids for the eye into `--work`; the same
command goes on from there. `--part 1/2` and `--part 2/2` are two processes that share the work: run
both until all is learned, and both again. Intervals are 95 % bootstrap intervals: of likeness
over concepts (of two styles, their range), of presence over pairs, each of which shares its
concepts with others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from math import isnan, nan
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor

from benchmarks.hands import Hands
from benchmarks.interval import with_interval
from benchmarks.peers.concepts import STYLE_SETS, WORN, Concept, concepts, shows
from benchmarks.results import Finding, Results, add_part, add_settings, digest, settings_of
from mini.vocabulary import STYLES
from mini.world import Ground, Picture, Thing, World, article
from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.backbones.families import in_style_on
from prism_cli.files import write_whole
from prism_cli.method.composition import factors_of
from prism_cli.method.evaluation import likeness
from prism_cli.method.interference import layer_interference
from prism_cli.registry.store import Registry
from prism_cli.reports.contact_sheet import grid
from prism_cli.services.concept_archive import unpack_lora
from prism_cli.services.generate import DrawRequest, generate
from prism_cli.services.pictures import png
from prism_cli.services.prepare import TrainRequest
from prism_cli.services.recognition import PracticeJudge, own_likeness
from prism_cli.services.train import train
from prism_cli.services.transfer import TransferRequest, transfer

METHODS = ("sum", "per-token")
# Of two subjects, at what weight of both: the sum is tried at lower ones too.
BESIDE = (("sum", 1.0), ("sum", 0.7), ("sum", 0.5), ("sum", 0.35), ("per-token", 1.0))
NOUNS = ("box", "wolf", "doll", "bag", "car", "tent")  # the first four are the paper's (Fig. 13)
PLAIN_NOUN = "tent"  # with which a subject shares a picture
# In which ways, to set beside those of BESIDE.
PLAINLY = (("sum", 0.5), ("per-token", 1.0))
MOVED = 8  # subjects
PAIRS = 12  # of each kind
TRUE_GROUNDS = tuple(  # that no reference has
    Ground(colour=c) for c in ("red", "blue", "white", "green", "yellow", "gray")
)
KEPT = 0.85  # of the likeness above its floor, in a composition
PRESENT = 0.8  # of draws with both concepts
RECOGNISED = 0.7  # of draws of a new noun
SEED = 1000  # of every picture; the transfer picks its weight on seeds from 0
SHOWN = 4  # pictures in a column of a grid
WON = 0.8  # of draws in which the true cloth wins

HAND = "-hand"  # behind a set's name: the concept that is its style


def arguments() -> argparse.Namespace:
    """Sizes; the defaults are the full run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artwork", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("composition.jsonl"))
    parser.add_argument(
        "--photos", action="store_true", help="only write what is learned from, for prism ablate"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of each kind")
    parser.add_argument("--moved", type=int, default=MOVED, help="subjects to transfer")
    parser.add_argument("--nouns", type=int, default=len(NOUNS), choices=range(1, len(NOUNS) + 1))
    parser.add_argument("--worn", type=int, default=len(WORN), help="patterns and palettes")
    parser.add_argument("--pictures", type=int, default=8, help="drawn of each prompt")
    parser.add_argument("--train-steps", type=int, help="of each stage; else the recipe's")
    parser.add_argument("--draw-steps", type=int, help="else the recipe's")
    add_settings(parser)
    parser.add_argument(
        "--in-style",
        default=in_style_on("mini"),
        help="how a thing, {}, is asked for in a style, *",
    )
    add_part(parser)
    return parser.parse_args()


class Bench:
    """The world, the concepts that are drawn in it, and who judges."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.out = args.work / "drawn" / args.part.replace("/", "-of-")  # no other process's
        self.world = World(args.artwork / "icons.npz")
        self.judge = PracticeJudge.of(catalog.resolve("mini"))
        every = concepts(self.world)
        self.subjects = {c.noun: c for c in every if c.kind == "subject" and c.noun}
        self.styles = {
            f"{name}{HAND}": c for name, c in zip(STYLE_SETS, _styles(every), strict=True)
        }
        worn = [c for c in every if c.kind in ("pattern", "palette")]
        if shown := {t.noun for c in worn for t in _things(c)} & {*NOUNS}:
            raise ValueError(f"{shown} would be no new nouns")
        self.worn = {c.name.replace(" ", "-"): c for c in worn[: args.worn]}
        self.cloths = dict(zip(self.worn, WORN, strict=False))
        self.true_subjects = {
            noun: self.truths([_thing(concept)]) for noun, concept in self.subjects.items()
        }
        shown = {t.noun for concept in self.styles.values() for t in _things(concept)}
        self.hands = Hands.learn(
            self.world, self.judge.scorer, (*STYLES, *STYLE_SETS), {*self.subjects, *shown}
        )

    # -- the concepts and their pictures

    def photos(self, name: str, concept: Concept) -> Path:
        """The folder of what a concept is learned from."""
        folder = self.args.work / "photos" / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        for k, picture in enumerate(concept.references):
            Image.fromarray(self.world.draw(picture, rng)).save(folder / f"{k}.png")
            if concept.noun is None:
                (folder / f"{k}.txt").write_text(shows(picture), "utf-8")
        return folder

    def learn(self, name: str, concept: Concept) -> Finding:
        """Train a concept, unless it is there."""
        if name in Registry(paths.concepts_dir()).names():
            return {"seconds": 0.0}
        folder = self.photos(name, concept)
        steps, flags = self.args.train_steps, settings_of(self.args)
        if steps is not None:
            flags |= {"tokens.steps": steps, "finetuning.steps": steps}
        kind = "style" if concept.kind == "style" else "subject"
        request = TrainRequest(
            folder=folder, name=name, kind=kind, base="mini", keep_similar=True, flags=flags
        )
        return {"seconds": round(train(request).seconds, 1)}

    def pictures(self, prompt: str, **options: Any) -> list[Image.Image]:
        """What `prism gen` draws of a prompt, from the same seeds whatever the prompt."""
        request = DrawRequest(
            prompt=prompt, count=self.args.pictures, seed=SEED, steps=self.args.draw_steps,
            out=self.out, force=True, base="mini", **options,
        )  # fmt: skip
        shown = []
        for one in generate(request).pictures:
            with Image.open(one.path) as picture:
                shown.append(picture.convert("RGB"))
        return shown

    def keep(self, name: str, columns: Mapping[str, Sequence[Image.Image]]) -> None:
        """A grid for the eye, of the first few of each column."""
        folder = self.args.work / "grids"
        folder.mkdir(parents=True, exist_ok=True)
        first = {title: pictures[:SHOWN] for title, pictures in columns.items()}
        write_whole(folder / f"{name}.png", png(grid(first, tile=96)))

    # -- the truth

    def drawn(self, things: Sequence[Thing], beside: Thing | None = None) -> list[Image.Image]:
        """Each thing as the world draws it, on every ground of TRUE_GROUNDS."""
        rng = np.random.default_rng(1)
        every = [
            Picture(thing=thing, ground=ground, beside=beside)
            for thing in things
            for ground in TRUE_GROUNDS
        ]
        return [Image.fromarray(self.world.draw(each, rng)) for each in every]

    def truths(self, things: Sequence[Thing]) -> Tensor:
        """Their designs (n, d)."""
        return self.judge.designs(self.drawn(things))

    def in_hand(self, noun: str, hand: str) -> Tensor:
        """A noun as one set draws it."""
        return self.truths([Thing(noun=noun, set=hand)])

    def in_hand_of(self, style: str, thing: str) -> str:
        """The prompt for a thing in a style that was learned."""
        return str(self.args.in_style).replace("{}", thing).replace("*", f"[{style}]")

    def nearest(self, designs: Tensor, truths: Mapping[str, Tensor]) -> list[str]:
        """For each design, whose true drawings it is most like."""
        names = list(truths)
        every = torch.stack([(designs @ true.T).mean(1) for true in truths.values()], 1)
        return [names[k] for k in every.argmax(1).tolist()]

    # -- what is measured

    def subject_alone(self, noun: str) -> Finding:
        """A subject with nothing else, and the bounds of its likeness."""
        true = self.true_subjects[noun]
        shown = self.judge.designs(self.pictures(f"a [{noun}]"))
        others = torch.cat([t for name, t in self.true_subjects.items() if name != noun])
        found = self.nearest(shown, self.true_subjects)
        return {
            "likeness": likeness(shown, true),
            "floor": likeness(others, true),
            "ceiling": own_likeness(true),
            "present": found.count(noun) / len(found),
        }

    def beside_plain(self, noun: str, method: str, weight: float) -> Finding:
        """A subject in half a picture, with a thing of the base's own in the other."""
        true, found = self.true_subjects[noun], []
        one, other = f"a [{noun}:{weight:g}]", article(PLAIN_NOUN)
        for prompt, side in (
            (f"{one} next to {other}", "left"),
            (f"{other} next to {one}", "right"),
        ):
            shown = self.judge.designs(self.pictures(prompt, method=method), side)
            found.append(likeness(shown, true))
        return {"likeness": fmean(found)}

    def hand(self, pictures: Sequence[Image.Image], style: str) -> tuple[float, list[bool]]:
        """How probable the style's hand is, a mean; of each picture, whether it is likeliest."""
        read = self.hands.read(_stacked(pictures))
        own = self.hands.sets.index(_set_of(style))
        return read[:, own].mean().item(), (read.argmax(1) == own).tolist()

    def style_alone(self, style: str, noun: str) -> Finding:
        """A style on the base's own noun."""
        shown = self.pictures(self.in_hand_of(style, article(noun)))
        likely, is_own = self.hand(shown, style)
        true = Thing(noun=noun, set=_set_of(style))
        columns = {"plain": self.pictures(article(noun)), style: shown, "true": self.drawn([true])}
        self.keep(f"hand-{style}-{noun}", columns)
        return {
            "likeness": likely,
            "floor": self.hand(columns["plain"], style)[0],
            "ceiling": self.hand(columns["true"], style)[0],
            "present": fmean(is_own),
            "named": fmean(self.named(shown, noun)),
        }

    def beside(self, one: str, other: str, method: str, weight: float) -> Finding:
        """Two subjects, each in a half; the weight is of both LoRAs."""
        shown = self.pictures(f"a [{one}:{weight:g}] next to a [{other}:{weight:g}]", method=method)
        pair = [_thing(self.subjects[noun]) for noun in (one, other)]
        way = at(method, weight)
        self.keep(
            f"beside-{one}-{other}-{way}",
            {one: self.drawn(pair[:1])[:3], other: self.drawn(pair[1:])[:3], way: shown},
        )
        return self.in_halves(one, other, shown) | {
            f"{name}, true": value
            for name, value in self.in_halves(one, other, self.drawn(pair[:1], pair[1])).items()
        }

    def in_halves(self, one: str, other: str, shown: Sequence[Image.Image]) -> Finding:
        """The likeness of both, in the order that fits each picture better; who is there."""
        halves = [self.judge.designs(shown, side) for side in ("left", "right")]
        like = {
            noun: [(half @ self.true_subjects[noun].T).mean(1) for half in halves]
            for noun in (one, other)
        }
        said, turned = like[one][0] + like[other][1], like[other][0] + like[one][1]
        right = said >= turned
        near = zip(*(self.nearest(half, self.true_subjects) for half in halves), strict=True)
        return {
            one: torch.where(right, like[one][0], like[one][1]).mean().item(),
            other: torch.where(right, like[other][1], like[other][0]).mean().item(),
            "as said": right.float().mean().item(),
            "both": fmean({*found} == {one, other} for found in near),
        }

    def styled(self, noun: str, style: str, method: str) -> Finding:
        """A subject in a style, and the same noun as the style's set draws it."""
        shown = self.pictures(self.in_hand_of(style, f"a [{noun}]"), method=method)
        subject, true = _thing(self.subjects[noun]), Thing(noun=noun, set=_set_of(style))
        columns = {noun: self.drawn([subject])[:3], style: self.drawn([true])[:3], method: shown}
        self.keep(f"styled-{noun}-{style}-{method}", columns)
        return self.in_style(noun, style, shown) | {
            f"{name}, true": value
            for name, value in self.in_style(noun, style, self.drawn([true])).items()
        }

    def in_style(self, noun: str, style: str, shown: Sequence[Image.Image]) -> Finding:
        """The likeness to the subject, how probable the style is, whether both are there."""
        designs = self.judge.designs(shown)
        likely, is_own = self.hand(shown, style)
        own = _set_of(style)
        hands = [hand for hand in (*STYLES, own) if noun in self.world.words[hand]]
        truths = self.true_subjects | {f"{hand}'s": self.in_hand(noun, hand) for hand in hands}
        near = [name in (noun, f"{own}'s") for name in self.nearest(designs, truths)]
        return {
            "subject": likeness(designs, self.true_subjects[noun]),
            "style": likely,
            "named": fmean(self.named(shown, noun)),
            "both": fmean(a and b for a, b in zip(near, is_own, strict=True)),
        }

    def moved(self, noun: str) -> Finding:
        """A subject on other nouns, at the weight of the best trade."""
        nouns = NOUNS[: self.args.nouns]
        result = transfer(
            TransferRequest(
                name=noun, nouns=nouns, photos=self.args.work / "photos" / noun,
                out=self.out, steps=self.args.draw_steps, force=True,
            )
        )  # fmt: skip
        if not result.scores:
            raise SystemExit("the practice base's scorer did not judge the transfer")
        weight = 1.0 if result.picked is None else result.picked
        true, cells = self.true_subjects[noun], {}
        columns = {noun: self.drawn([_thing(self.subjects[noun])])[:3]}
        for other in nouns:
            shown = self.pictures(f"a photo of [{noun}:{weight:g}] {other}")
            plain = self.pictures(f"a photo of a {other}")
            real = self.drawn(_clothed(other, self.world.hands(other), (None, None)))
            designs, alone = self.judge.designs(shown), self.judge.designs(plain)
            cells[other] = {
                "recognised": fmean(self.named(shown, other)),
                "recognised, plain": fmean(self.named(plain, other)),
                "recognised, real": fmean(self.named(real, other)),
                "likeness": likeness(designs, true),
                "likeness, plain": likeness(alone, true),
            }
            columns[other] = shown
        self.keep(f"moved-{noun}", columns)
        others = torch.cat([t for name, t in self.true_subjects.items() if name != noun])
        return {
            "weight": weight,
            "floor": likeness(others, true),
            "ceiling": own_likeness(true),
            "cells": cells,
        }

    def named(self, pictures: Sequence[Image.Image], noun: str) -> list[bool]:
        """Of each picture, whether the scorer reads `noun` in it before all others."""
        index = list(self.judge.scorer.texts["noun"]).index(noun)
        read: list[int] = self.judge.scorer.read(_stacked(pictures))[0]["noun"].argmax(-1).tolist()
        return [best == index for best in read]

    def worn_by(self, name: str) -> Finding:
        """A pattern or palette on other nouns: whether the true picture is the likest of all."""
        cells, columns = {}, {}
        for noun in NOUNS[: self.args.nouns]:
            hands = self.world.hands(noun)
            clothed = {
                other: self.truths(_clothed(noun, hands, cloth))
                for other, cloth in {**self.cloths, "plain": (None, None)}.items()
            }
            shown = self.pictures(f"a photo of [{name}] {noun}")
            sets = {
                "": self.judge.designs(shown),
                ", plain": self.judge.designs(self.pictures(f"a photo of a {noun}")),
                ", real": self.truths(_clothed(noun, ("openmoji",), self.cloths[name])),
            }
            icons = self.truths([_thing(concept) for concept in self.subjects.values()])
            cells[noun] = {
                f"won{of}": self.nearest(designs, clothed).count(name) / len(designs)
                for of, designs in sets.items()
            } | {
                "recognised": fmean(self.named(shown, noun)),
                "likeness": likeness(sets[""], clothed[name]),
                "floor": likeness(icons, clothed[name]),
                "ceiling": likeness(sets[", real"], clothed[name]),
            }
            columns[noun] = [*self.drawn(_clothed(noun, hands, self.cloths[name]))[:1], *shown]
        self.keep(f"worn-{name}", columns)
        return {"cells": cells}

    def layers(self, names: Sequence[str]) -> Finding:
        """The cosines of the LoRAs of every two concepts, without their signs, over all layers."""
        registry = Registry(paths.concepts_dir())
        loras = [factors_of(unpack_lora(registry.load(name))) for name in names]
        found = [
            layer
            for one, other in combinations(loras, 2)
            for layer in layer_interference(one, other)
        ]
        cosines = torch.tensor([abs(layer.cosine) for layer in found])
        middle, high = cosines.quantile(torch.tensor([0.5, 0.95])).tolist()
        clashing = fmean(layer.clashes for layer in found)
        return {"count": len(found), "median": middle, "95 %": high, "clashing": clashing}


def _stacked(pictures: Sequence[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(each) for each in pictures])


def at(method: str, weight: float) -> str:
    """What a method is called at a weight of both concepts."""
    return method if weight == 1 else f"{method} at {weight:g}"


def _clothed(noun: str, sets: Sequence[str], cloth: tuple[str | None, str | None]) -> list[Thing]:
    pattern, colour = cloth
    return [Thing(noun=noun, set=name, colour=colour, pattern=pattern) for name in sets]


def _set_of(style: str) -> str:
    return style.removesuffix(HAND)


def _things(concept: Concept) -> list[Thing]:
    return [picture.thing for picture in concept.references if picture.thing]


def _styles(every: Sequence[Concept]) -> list[Concept]:
    return [concept for concept in every if concept.kind == "style"]


def _thing(concept: Concept) -> Thing:
    return _things(concept)[0]


def pairs_of(bench: Bench) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Each subject beside the next, and subjects in styles of other sets that have their noun."""
    nouns = list(bench.subjects)
    beside = list(zip(nouns, [*nouns[1:], nouns[0]], strict=True))
    styled = [
        (noun, style)
        for noun, (style, concept) in product(nouns, bench.styles.items())
        if _thing(bench.subjects[noun]).set != _set_of(style)
        and noun in bench.world.words[_set_of(style)]
        and noun not in {thing.noun for thing in _things(concept)}
    ]
    wanted = bench.args.pairs
    if min(len(beside), len(styled)) < wanted:
        raise SystemExit(f"there are only {len(beside)} and {len(styled)} pairs")
    return beside[:wanted], styled[:wanted]


# -- tables


@dataclass(frozen=True)
class Cell:
    """A concept in a composition. alone: what `Bench` found of it alone.

    plain: its likeness beside a plain noun, nan where that was not looked at.
    """

    concept: str
    alone: Finding
    composed: float
    true: float
    plain: float = nan

    def keeps(self, likeness: float) -> bool:
        """Whether enough is left of `likeness` above the floor."""
        floor = float(self.alone["floor"])
        return likeness > floor and self.composed - floor >= KEPT * (likeness - floor)


def by_concept(cells: Sequence[Cell], number: Callable[[Cell], float]) -> str:
    """A mean over concepts of means over their cells."""
    names = sorted({cell.concept for cell in cells})
    return with_interval([fmean(number(c) for c in cells if c.concept == name) for name in names])


def compositions(
    found: Mapping[str, Finding],
    beside: Sequence[tuple[str, str]],
    styled: Sequence[tuple[str, str]],
) -> Iterator[str]:
    """A line for each kind of pair and method."""
    yield (
        f"| | method | floor | alone | beside a plain noun | composed | the true picture | "
        f"cells that keep {KEPT:.0%} of alone | of beside a plain noun | "
        f"both present (aim {PRESENT:.0%}) | in true pictures |"
    )
    yield "| --- " * 11 + "|"
    for way in (at(method, weight) for method, weight in BESIDE):
        rows = [(pair, found[f"beside {' '.join(pair)} {way}"]) for pair in beside]
        cells = [
            Cell(
                noun,
                found[f"alone {noun}"],
                row[noun],
                row[f"{noun}, true"],
                found.get(f"beside plain {noun} {way}", {}).get("likeness", nan),
            )
            for pair, row in rows
            for noun in pair
        ]
        yield line("a subject beside a subject", way, cells, [row for _, row in rows])
    for method in METHODS:
        dressed = [(n, s, found[f"styled {n} {s} {method}"]) for n, s in styled]
        both = [row for *_, row in dressed]
        subjects = [
            Cell(n, found[f"alone {n}"], row["subject"], row["subject, true"])
            for n, _, row in dressed
        ]
        yield line("a subject in a style", method, subjects, both)
        styles = [
            Cell(s, found[f"alone {s} {n}"], row["style"], row["style, true"])
            for n, s, row in dressed
        ]
        yield line("a style on a subject", method, styles, both)


def line(what: str, method: str, cells: Sequence[Cell], rows: Sequence[Finding]) -> str:
    """One of the table."""
    seen = not any(isnan(cell.plain) for cell in cells)
    columns = (
        by_concept(cells, lambda cell: cell.alone["floor"]),
        by_concept(cells, lambda cell: cell.alone["likeness"]),
        by_concept(cells, lambda cell: cell.plain) if seen else "",
        by_concept(cells, lambda cell: cell.composed),
        by_concept(cells, lambda cell: cell.true),
        f"{sum(cell.keeps(cell.alone['likeness']) for cell in cells)} of {len(cells)}",
        f"{sum(cell.keeps(cell.plain) for cell in cells)} of {len(cells)}" if seen else "",
        with_interval([row["both"] for row in rows]),
        with_interval([row["both, true"] for row in rows]),
    )
    return f"| {what} | {method} | " + " | ".join(columns) + " |"


def transfers(found: Mapping[str, Finding], nouns: Sequence[str]) -> Iterator[str]:
    """A line for each subject, and for all."""
    yield (
        f"| subject | weight | noun recognised (aim {RECOGNISED:.0%}) | by the base alone | "
        "of real pictures | likeness | of the base's own | floor | ceiling | nouns with both |"
    )
    yield "| --- " * 10 + "|"
    numbers = (
        "recognised", "recognised, plain", "recognised, real", "likeness", "likeness, plain",
    )  # fmt: skip
    every: list[list[float]] = []
    for noun in nouns:
        one = found[f"moved {noun}"]
        cells = one["cells"].values()
        means = [fmean(cell[number] for cell in cells) for number in numbers]
        both = fmean(
            cell["recognised"] >= RECOGNISED and cell["likeness"] > cell["likeness, plain"]
            for cell in cells
        )
        every.append([one["weight"], *means, one["floor"], one["ceiling"], both])
        yield f"| {noun} | " + " | ".join(f"{value:.2f}" for value in every[-1]) + " |"
    yield (
        "| **all** | "
        + " | ".join(with_interval(column) for column in zip(*every, strict=True))
        + " |"
    )


def clothes(found: Mapping[str, Finding], names: Sequence[str]) -> Iterator[str]:
    """A line for each pattern and palette, and for all."""
    yield (
        f"| worn | true picture wins (aim {WON:.0%}) | of the base's own | of real pictures | "
        "noun recognised | likeness | floor | ceiling |"
    )
    yield "| --- " * 8 + "|"
    numbers = ("won", "won, plain", "won, real", "recognised", "likeness", "floor", "ceiling")
    every: list[list[float]] = []
    for name in names:
        cells = found[f"worn {name}"]["cells"].values()
        every.append([fmean(cell[number] for cell in cells) for number in numbers])
        yield f"| {name} | " + " | ".join(f"{value:.2f}" for value in every[-1]) + " |"
    yield (
        "| **all** | "
        + " | ".join(with_interval(column) for column in zip(*every, strict=True))
        + " |"
    )


def likeness_of_layers(found: Finding) -> Iterator[str]:
    """One line."""
    yield "| layers, over all pairs of concepts | median cosine | 95 % are below | clash |"
    yield "| --- " * 4 + "|"
    yield (
        f"| {found['count']} | {found['median']:.2f} | {found['95 %']:.2f} | "
        f"{found['clashing']:.3f} |"
    )


def trust(found: Finding) -> Iterator[str]:
    """How often the probe is right about each set, on true drawings of the subjects' nouns."""
    yield "| the hand of | " + " | ".join(found) + " |"
    yield "| --- " * (len(found) + 1) + "|"
    yield "| is told | " + " | ".join(f"{share:.2f}" for share in found.values()) + " |"


def main() -> None:
    """Learn, compose, move; what is known already is not done again."""
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    transformers.logging.disable_progress_bar()
    sizes = ("pictures", "train_steps", "draw_steps", "nouns", "worn")
    settings = {name: getattr(args, name) for name in sizes}
    entry = catalog.resolve("mini")
    artwork = digest(args.artwork / "icons.npz")
    settings |= {"base": entry.revision, "recipe": entry.recipe.flat(), "style": args.in_style}
    settings |= {"artwork": artwork, "set": settings_of(args)}
    # What was learned in another way is no concept of this run.
    learned_by = [settings[name] for name in ("base", "recipe", "artwork", "set", "train_steps")]
    key = hashlib.sha256(json.dumps(learned_by).encode()).hexdigest()[:12]
    os.environ["PRISM_HOME"] = str((args.work / f"home-{key}").resolve())
    results, bench = Results(args.out, settings), Bench(args)
    beside, styled = pairs_of(bench)
    moved = list(bench.subjects)[: args.moved]
    asked = {n for pair in beside for n in pair} | {n for n, _ in styled} | set(moved)
    subjects = [noun for noun in bench.subjects if noun in asked]
    styles = {style: bench.styles[style] for _, style in styled}
    learned = {noun: bench.subjects[noun] for noun in subjects} | styles | bench.worn
    if args.photos:
        print("\n".join(str(bench.photos(*each)) for each in learned.items()))
        return
    lessons = {
        f"train {name}": partial(bench.learn, name, concept) for name, concept in learned.items()
    }
    results.find(lessons, args.part)
    if lessons.keys() - results.found.keys():
        print("the other parts are still learning; then run this once more")
        return
    looks: dict[str, Callable[[], Finding]] = {
        f"alone {noun}": partial(bench.subject_alone, noun) for noun in subjects
    }
    for (method, weight), noun in product(PLAINLY, subjects):
        looks[f"beside plain {noun} {at(method, weight)}"] = partial(
            bench.beside_plain, noun, method, weight
        )
    for noun, style in styled:
        looks[f"alone {style} {noun}"] = partial(bench.style_alone, style, noun)
    for (method, weight), (one, other) in product(BESIDE, beside):
        looks[f"beside {one} {other} {at(method, weight)}"] = partial(
            bench.beside, one, other, method, weight
        )
    for method, (noun, style) in product(METHODS, styled):
        looks[f"styled {noun} {style} {method}"] = partial(bench.styled, noun, style, method)
    looks |= {f"moved {noun}": partial(bench.moved, noun) for noun in moved}
    looks |= {f"worn {name}": partial(bench.worn_by, name) for name in bench.worn}
    looks["layers"] = partial(bench.layers, list(learned))
    looks["hands"] = partial(bench.hands.trusted, bench.world, subjects)
    results.find(looks, args.part)
    if looks.keys() - results.found.keys():
        return
    for lines in (
        compositions(results.found, beside, styled),
        transfers(results.found, moved),
        clothes(results.found, list(bench.worn)),
        likeness_of_layers(results.found["layers"]),
        trust(results.found["hands"]),
    ):
        print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
