"""Composition and transfer on the practice base, against the truth of its world.

    python -m benchmarks.composition --artwork artwork --work composition

`artwork` holds the `icons.npz` of `mini.artwork`. The concepts are those of
`benchmarks/peers/concepts.py`, in drawings that neither the base nor its scorer has seen. Each is
learned by `prism train` from its five pictures alone, as a user would. Then:

- beside: twelve pairs of subjects, "a [one] next to a [other]";
- styled: twelve subjects in the style of another set, "a [subject] in [style] style", where the
  truth is known: the same thing as that set draws it;
- moved: eight subjects on six nouns, at the weight that `prism transfer` picks;
- worn: the four patterns and palettes on the same nouns, where the truth is known as well.

Likeness is the cosine of the scorer's designs to true drawings; its floor is other concepts' true
drawings, its ceiling true drawings among each other. A composed concept is present where its
picture (its half, of a pair; in either order) is nearer to its own truth than to any other: of all
subjects, or, of a style, of the same noun in any other set. Each finding goes into `results.json`
in `--work` as soon as it is known, and the pictures beside it; the same command goes on from there.
The tables are means with 95 % bootstrap intervals over pairs, or over concepts.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor

from benchmarks.peers.concepts import STYLE_SETS, WORN, Concept, concepts
from mini.vocabulary import STYLES
from mini.world import Ground, Picture, Thing, World
from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.files import write_whole
from prism_cli.method.bootstrap import mean_interval
from prism_cli.method.evaluation import likeness
from prism_cli.registry.store import Registry
from prism_cli.reports.contact_sheet import grid
from prism_cli.runtime import generator
from prism_cli.services.generate import DrawRequest, generate
from prism_cli.services.pictures import png
from prism_cli.services.prepare import TrainRequest
from prism_cli.services.recognition import PracticeJudge, own_likeness
from prism_cli.services.train import train
from prism_cli.services.transfer import TransferRequest, transfer

METHODS = ("sum", "per-token")
NOUNS = ("box", "wolf", "doll", "bag", "car", "house")  # box, wolf, doll, bag: the paper's Fig. 13
MOVED = 8  # subjects
PAIRS = 12  # of each kind
TRUE_GROUNDS = tuple(  # that no reference has
    Ground(colour=c) for c in ("red", "blue", "white", "green", "yellow", "gray")
)
KEPT = 0.85  # of the likeness above its floor, in a composition
PRESENT = 0.8  # of draws with both concepts
RECOGNISED = 0.7  # of draws of a new noun
WON = 0.8  # of draws in which the true cloth wins

Finding = dict[str, Any]


def arguments() -> argparse.Namespace:
    """Sizes; the defaults are the full run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artwork", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of each kind")
    parser.add_argument("--moved", type=int, default=MOVED, help="subjects to transfer")
    parser.add_argument("--nouns", type=int, default=len(NOUNS), choices=range(1, len(NOUNS) + 1))
    parser.add_argument("--worn", type=int, default=len(WORN), help="patterns and palettes")
    parser.add_argument("--pictures", type=int, default=8, help="drawn of each prompt")
    parser.add_argument("--train-steps", type=int, help="of each stage; else the recipe's")
    parser.add_argument("--draw-steps", type=int, help="else the recipe's")
    return parser.parse_args()


class Results:
    """A JSON file that grows by one finding at a time."""

    def __init__(self, path: Path, settings: Finding) -> None:
        self.path = path
        self.found: Finding = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        known = self.found.setdefault("settings", settings)
        if known != settings:
            raise SystemExit(f"{path} is of another run: {known}")

    def once(self, key: str, make: Callable[[], Finding]) -> Finding:
        """What was found under `key`, or what `make` finds now."""
        if key not in self.found:
            self.found[key] = make()
            text = json.dumps(self.found, indent=1, sort_keys=True) + "\n"
            write_whole(self.path, text.encode())
            print(key, json.dumps(self.found[key]), flush=True)
        found: Finding = self.found[key]
        return found


class Bench:
    """The world, the concepts that are drawn in it, and who judges."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.world = World(args.artwork / "icons.npz")
        self.judge = PracticeJudge.of(catalog.resolve("mini"))
        every = concepts(self.world)
        self.subjects = {c.noun: c for c in every if c.kind == "subject" and c.noun}
        self.styles = {
            f"{name}-hand": c for name, c in zip(STYLE_SETS, _styles(every), strict=True)
        }
        worn = [c for c in every if c.kind in ("pattern", "palette")]
        self.worn = {c.name.replace(" ", "-"): c for c in worn[: args.worn]}
        self.cloths = dict(zip(self.worn, WORN, strict=False))
        self.true_subjects = {
            noun: self.truths([_thing(concept)]) for noun, concept in self.subjects.items()
        }

    # -- the concepts and their pictures

    def learn(self, name: str, concept: Concept) -> Finding:
        """Train a concept, unless it is there."""
        if name in Registry(paths.concepts_dir()).names():
            return {"seconds": 0.0}
        folder = self.args.work / "photos" / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        for k, picture in enumerate(concept.references):
            Image.fromarray(self.world.draw(picture, rng)).save(folder / f"{k}.png")
        steps = self.args.train_steps
        flags = {} if steps is None else {"tokens.steps": steps, "finetuning.steps": steps}
        kind = "subject" if concept.kind == "subject" else "style"
        request = TrainRequest(folder=folder, name=name, kind=kind, keep_similar=True, flags=flags)
        return {"seconds": round(train(request).seconds, 1)}

    def pictures(self, prompt: str, **options: Any) -> list[Image.Image]:
        """What `prism gen` draws of a prompt, from the same seeds whatever the prompt."""
        request = DrawRequest(
            prompt=prompt, count=self.args.pictures, seed=0, steps=self.args.draw_steps,
            out=self.args.work / "drawn", force=True, **options,
        )  # fmt: skip
        shown = []
        for one in generate(request).pictures:
            with Image.open(one.path) as picture:
                shown.append(picture.convert("RGB"))
        return shown

    def keep(self, name: str, columns: Mapping[str, Sequence[Image.Image]]) -> None:
        """A grid for the eye."""
        folder = self.args.work / "grids"
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{name}.png", png(grid(columns, tile=96)))

    # -- the truth

    def drawn(self, things: Sequence[Thing]) -> list[Image.Image]:
        """Each thing as the world draws it, on every ground of TRUE_GROUNDS."""
        rng = np.random.default_rng(1)
        every = [Picture(thing=thing, ground=ground) for thing in things for ground in TRUE_GROUNDS]
        return [Image.fromarray(self.world.draw(each, rng)) for each in every]

    def truths(self, things: Sequence[Thing]) -> Tensor:
        """Their designs (n, d)."""
        return self.judge.designs(self.drawn(things))

    def in_hand(self, noun: str, hand: str) -> Tensor:
        """A noun as one set draws it."""
        return self.truths([Thing(noun=noun, set=hand)])

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

    def hands_of(self, noun: str) -> dict[str, Tensor]:
        """The noun in every set that the base knows, and in the styles that are learned."""
        hands = (*STYLES, *STYLE_SETS)
        return {h: self.in_hand(noun, h) for h in hands if noun in self.world.words[h]}

    def style_alone(self, style: str, noun: str) -> Finding:
        """A style on the base's own noun, against that noun in the style's set."""
        own, hands = style.removesuffix("-hand"), self.hands_of(noun)
        shown = self.judge.designs(self.pictures(f"a {noun} in [{style}] style"))
        others = torch.cat([true for hand, true in hands.items() if hand != own])
        return {
            "likeness": likeness(shown, hands[own]),
            "floor": likeness(others, hands[own]),
            "ceiling": own_likeness(hands[own]),
            "present": self.nearest(shown, hands).count(own) / len(shown),
        }

    def beside(self, one: str, other: str, method: str) -> Finding:
        """Two subjects, each in a half."""
        shown = self.pictures(f"a [{one}] next to a [{other}]", method=method)
        halves = {side: self.judge.designs(shown, side) for side in ("left", "right")}
        near = [self.nearest(half, self.true_subjects) for half in halves.values()]
        as_said = [fmean(self._like(halves, a, b)) for a, b in ((one, other), (other, one))]
        left, right = (one, other) if as_said[0] >= as_said[1] else (other, one)
        first, second = self._like(halves, left, right)
        self.keep(
            f"beside-{one}-{other}-{method}",
            {one: self._true(one), other: self._true(other), method: shown},
        )
        return {
            left: first,
            right: second,
            "as said": left == one,
            "both": fmean({a, b} == {one, other} for a, b in zip(*near, strict=True)),
            "either": fmean(bool({a, b} & {one, other}) for a, b in zip(*near, strict=True)),
        }

    def _like(self, halves: Mapping[str, Tensor], left: str, right: str) -> tuple[float, float]:
        sides = (halves["left"], left), (halves["right"], right)
        first, second = (likeness(half, self.true_subjects[noun]) for half, noun in sides)
        return first, second

    def _true(self, noun: str) -> list[Image.Image]:
        return self.drawn([_thing(self.subjects[noun])])[:3]

    def styled(self, noun: str, style: str, method: str) -> Finding:
        """A subject in a style, against the same noun as the style's set draws it."""
        own, hands = style.removesuffix("-hand"), self.hands_of(noun)
        shown = self.pictures(f"a [{noun}] in [{style}] style", method=method)
        designs = self.judge.designs(shown)
        drawn_by = self.nearest(designs, hands | {"subject": self.true_subjects[noun]})
        subjects = self.true_subjects | {noun: torch.cat([self.true_subjects[noun], hands[own]])}
        named = [name == noun for name in self.nearest(designs, subjects)]
        styled = [hand == own for hand in drawn_by]
        self.keep(
            f"styled-{noun}-{style}-{method}",
            {
                noun: self._true(noun),
                own: self.drawn([Thing(noun=noun, set=own)])[:3],
                method: shown,
            },
        )
        return {
            "subject": likeness(designs, self.true_subjects[noun]),
            "style": likeness(designs, hands[own]),
            "named": fmean(named),
            "styled": fmean(styled),
            "both": fmean(a and b for a, b in zip(named, styled, strict=True)),
        }

    def moved(self, noun: str) -> Finding:
        """A subject on other nouns, at the weight of the best trade."""
        nouns = NOUNS[: self.args.nouns]
        result = transfer(
            TransferRequest(
                name=noun, nouns=nouns, photos=self.args.work / "photos" / noun,
                out=self.args.work / "drawn", steps=self.args.draw_steps, force=True,
            )
        )  # fmt: skip
        if result.picked is None:
            raise SystemExit("the practice base's scorer did not judge the transfer")
        true, cells, columns = self.true_subjects[noun], {}, {noun: self._true(noun)}
        for other in nouns:
            shown = self.pictures(f"a photo of [{noun}:{result.picked:g}] {other}")
            plain = self.pictures(f"a photo of a {other}")
            designs, alone = self.judge.designs(shown), self.judge.designs(plain)
            real = [Thing(noun=other, set=hand) for hand in STYLES]
            cells[other] = {
                "recognised": self.named(shown, other),
                "recognised, plain": self.named(plain, other),
                "recognised, real": self.named(self.drawn(real), other),
                "likeness": likeness(designs, true),
                "likeness, plain": likeness(alone, true),
            }
            columns[other] = shown
        self.keep(f"moved-{noun}", columns)
        others = torch.cat([t for name, t in self.true_subjects.items() if name != noun])
        return {
            "weight": result.picked,
            "floor": likeness(others, true),
            "ceiling": own_likeness(true),
            "cells": cells,
        }

    def named(self, pictures: Sequence[Image.Image], noun: str) -> float:
        """The share of pictures in which the scorer reads `noun` before all others."""
        stacked = np.stack([np.asarray(each) for each in pictures])
        index = list(self.judge.scorer.texts["noun"]).index(noun)
        read = self.judge.scorer.read(stacked)[0]["noun"].argmax(-1)
        return (read == index).float().mean().item()

    def worn_by(self, name: str) -> Finding:
        """A pattern or palette on other nouns: whether the true picture is the likest of all."""
        cells, columns = {}, {}
        for noun in NOUNS[: self.args.nouns]:
            clothed = {
                other: self.truths(self._clothed(noun, *cloth))
                for other, cloth in self.cloths.items()
            } | {"plain": self.truths(self._clothed(noun, None, None))}
            shown = self.pictures(f"a photo of a [{name}] {noun}")
            designs = self.judge.designs(shown)
            real = self.truths(self._clothed(noun, *self.cloths[name], sets=("emojione-v1",)))
            icons = self.truths([_thing(c) for c in self.subjects.values() if c.noun != noun])
            cells[noun] = {
                "won": self.nearest(designs, clothed).count(name) / len(shown),
                "won, real": self.nearest(real, clothed).count(name) / len(real),
                "recognised": self.named(shown, noun),
                "likeness": likeness(designs, clothed[name]),
                "floor": likeness(icons, clothed[name]),
                "ceiling": likeness(real, clothed[name]),
            }
            columns[noun] = [*self.drawn(self._clothed(noun, *self.cloths[name]))[:1], *shown]
        self.keep(f"worn-{name}", columns)
        return {"cells": cells}

    def _clothed(
        self, noun: str, pattern: str | None, colour: str | None,
        sets: Sequence[str] = STYLES,
    ) -> list[Thing]:  # fmt: skip
        there = [name for name in sets if noun in self.world.words[name]] or list(STYLES)
        return [Thing(noun=noun, set=name, colour=colour, pattern=pattern) for name in there]


def _styles(every: Sequence[Concept]) -> list[Concept]:
    return [concept for concept in every if concept.kind == "style"]


def _thing(concept: Concept) -> Thing:
    thing = concept.references[0].thing
    if thing is None:
        raise ValueError("a reference shows a thing")
    return thing


def pairs_of(bench: Bench) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Each subject beside the next, and subjects in styles of other sets that have their noun."""
    nouns = list(bench.subjects)
    beside = list(zip(nouns, [*nouns[1:], nouns[0]], strict=True))
    styled = [
        (noun, style)
        for noun, style in product(nouns, bench.styles)
        for hand in [style.removesuffix("-hand")]
        if _thing(bench.subjects[noun]).set != hand and noun in bench.world.words[hand]
    ]
    return beside[: bench.args.pairs], styled[: bench.args.pairs]


# -- tables


def shown(values: Sequence[float]) -> str:
    """A mean with its interval."""
    found = mean_interval(values, generator(0))
    interval = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.mean:.2f}{interval}"


def share_kept(pairs: Sequence[tuple[Finding, float]]) -> str:
    """How much of the likeness above the floor a composition keeps; (alone, composed) pairs."""
    alone = fmean(a["likeness"] - a["floor"] for a, _ in pairs)
    composed = fmean(c - a["floor"] for a, c in pairs)
    return f"{composed / alone:.0%}" if alone > 0 else "none alone"


def compositions(
    found: Finding, beside: Sequence[tuple[str, str]], styled: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """A line for each kind of pair and method."""
    yield (
        f"| pairs | method | alone | composed | kept ({KEPT:.0%}) | both present ({PRESENT:.0%}) |"
    )
    yield "| --- " * 6 + "|"
    for method in METHODS:
        rows = [(a, b, found[f"beside {a} {b} {method}"]) for a, b in beside]
        each = [(found[f"alone {n}"], row[n]) for a, b, row in rows for n in (a, b)]
        yield line("two subjects", method, each, [row["both"] for *_, row in rows])
    for method in METHODS:
        rows = [(n, s, found[f"styled {n} {s} {method}"]) for n, s in styled]
        subject = [(found[f"alone {n}"], row["subject"]) for n, _, row in rows]
        style = [(found[f"alone {s} {n}"], row["style"]) for n, s, row in rows]
        both = [row["both"] for *_, row in rows]
        yield line("subject and style: the subject", method, subject, both)
        yield line("subject and style: the style", method, style, both)


def line(
    what: str, method: str, pairs: Sequence[tuple[Finding, float]], both: Sequence[float]
) -> str:
    """One of the table."""
    alone = shown([a["likeness"] for a, _ in pairs])
    composed = shown([c for _, c in pairs])
    kept = share_kept(pairs)
    return f"| {what} | {method} | {alone} | {composed} | {kept} | {shown(both)} |"


def transfers(found: Finding, nouns: Sequence[str]) -> Iterator[str]:
    """A line for each subject, and for all."""
    yield (
        f"| subject | weight | noun recognised ({RECOGNISED:.0%}) | by the base alone | real | "
        "likeness | of the base's own | floor | ceiling |"
    )
    yield "| --- " * 9 + "|"
    numbers = (
        "recognised", "recognised, plain", "recognised, real", "likeness", "likeness, plain",
    )  # fmt: skip
    every: list[list[float]] = []
    for noun in nouns:
        one = found[f"moved {noun}"]
        means = [fmean(cell[number] for cell in one["cells"].values()) for number in numbers]
        every.append([one["weight"], *means, one["floor"], one["ceiling"]])
        yield f"| {noun} | " + " | ".join(f"{value:.2f}" for value in every[-1]) + " |"
    yield "| **all** | " + " | ".join(shown(column) for column in zip(*every, strict=True)) + " |"


def clothes(found: Finding, names: Sequence[str]) -> Iterator[str]:
    """A line for each pattern and palette, and for all."""
    yield (
        f"| worn | true picture wins ({WON:.0%}) | of real pictures | noun recognised | "
        "likeness | floor | ceiling |"
    )
    yield "| --- " * 7 + "|"
    numbers = ("won", "won, real", "recognised", "likeness", "floor", "ceiling")
    every: list[list[float]] = []
    for name in names:
        cells = found[f"worn {name}"]["cells"].values()
        every.append([fmean(cell[number] for cell in cells) for number in numbers])
        yield f"| {name} | " + " | ".join(f"{value:.2f}" for value in every[-1]) + " |"
    yield "| **all** | " + " | ".join(shown(column) for column in zip(*every, strict=True)) + " |"


def main() -> None:
    """Learn, compose, move; what is known already is not done again."""
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    os.environ["PRISM_HOME"] = str((args.work / "home").resolve())
    transformers.logging.disable_progress_bar()
    sizes = ("pictures", "train_steps", "draw_steps", "nouns")
    settings = {name: getattr(args, name) for name in sizes}
    settings["base"] = catalog.resolve("mini").revision
    results, bench = Results(args.work / "results.json", settings), Bench(args)
    beside, styled = pairs_of(bench)
    moved = list(bench.subjects)[: args.moved]
    asked = {n for pair in beside for n in pair} | {n for n, _ in styled} | set(moved)
    subjects = [noun for noun in bench.subjects if noun in asked]
    styles = {style: bench.styles[style] for _, style in styled}
    learned = {noun: bench.subjects[noun] for noun in subjects} | styles | bench.worn
    for name, concept in learned.items():
        results.once(f"train {name}", partial(bench.learn, name, concept))
    for noun in subjects:
        results.once(f"alone {noun}", partial(bench.subject_alone, noun))
    for noun, style in styled:
        results.once(f"alone {style} {noun}", partial(bench.style_alone, style, noun))
    for method in METHODS:
        for one, other in beside:
            results.once(
                f"beside {one} {other} {method}", partial(bench.beside, one, other, method)
            )
        for noun, style in styled:
            results.once(
                f"styled {noun} {style} {method}", partial(bench.styled, noun, style, method)
            )
    for noun in moved:
        results.once(f"moved {noun}", partial(bench.moved, noun))
    for name in bench.worn:
        results.once(f"worn {name}", partial(bench.worn_by, name))
    for lines in (
        compositions(results.found, beside, styled),
        transfers(results.found, moved),
        clothes(results.found, list(bench.worn)),
    ):
        print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
