"""Composition and transfer on the practice base, against the truth of its world.

    python benchmarks/composition.py --artwork artwork --work composition

`artwork` holds the `icons.npz` of `mini.artwork`. Concepts are drawn in sets that neither the base
nor its autoencoder has seen: subjects (one drawing in many places), styles (many things in one
hand) and patterns (many things in one cloth). Each is learned by `prism train` from pictures and
their captions, each pair composed by every method, and each subject moved onto other nouns.

What is measured, by the scorer's designs and always over the same seeds:

- composed: how like its own true drawings a concept is drawn, alone and in a composition. Of a
  subject in a style or a cloth the truth is known as well: the world draws that very thing.
- ceiling: true drawings among each other, in other places. floor: the drawings of other subjects.
- transfer: likeness of the concept and presence of the noun, at the weight that was picked; its
  floor and ceiling are what the base draws for the noun alone.

Everything goes into `results.json` in `--work` as soon as it is known. Stopped, the same command
goes on from there; with other arguments it needs another `--work`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from PIL import Image

from mini.artwork import HELD_OUT
from mini.vocabulary import PATTERNS, SCENES
from mini.world import Ground, Picture, Thing, World, plain_caption
from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.files import write_whole
from prism_cli.method.evaluation import likeness
from prism_cli.registry.store import Registry
from prism_cli.services.compose import ComposeRequest, compose
from prism_cli.services.generate import DrawRequest, generate
from prism_cli.services.prepare import TrainRequest
from prism_cli.services.recognition import PracticeJudge, own_likeness
from prism_cli.services.train import train
from prism_cli.services.transfer import TransferRequest, transfer

NOUNS = ("house", "cat", "car", "cup", "fish", "tree")  # that the base knows, for transfer
METHODS = ("sum", "per-token")
*HANDS, SUBJECTS = HELD_OUT  # a subject is drawn in another hand than any style's
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")


def arguments() -> argparse.Namespace:
    """Sizes; the defaults are the full run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artwork", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--styles", type=int, default=2)
    parser.add_argument("--patterns", type=int, default=4)
    parser.add_argument("--nouns", type=int, default=6, choices=range(1, len(NOUNS) + 1))
    parser.add_argument("--photos", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=8, help="drawn of each prompt")
    parser.add_argument("--train-steps", type=int, help="of each stage; else the recipe's")
    parser.add_argument("--draw-steps", type=int, help="else the recipe's")
    return parser.parse_args()


class Results:
    """A JSON file that grows by one finding at a time."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        known = self.found.setdefault("settings", settings)
        if known != settings:
            raise SystemExit(f"{path} is of another run: {known}")

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What was found under `key`, or what `make` finds now."""
        if key not in self.found:
            self.found[key] = make()
            text = json.dumps(self.found, indent=1, sort_keys=True) + "\n"
            write_whole(self.path, text.encode())
            print(key, json.dumps(self.found[key]), flush=True)
        return self.found[key]


class Bench:
    """The world, the concepts that are drawn in it, and who judges."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.world = World(args.artwork / "icons.npz")
        self.judge = PracticeJudge.of(catalog.resolve("mini"))
        # By the seed, not by hand: nouns that every held-out set has.
        rng = np.random.default_rng(0)
        common = sorted(set.intersection(*(set(self.world.words[name]) for name in HELD_OUT)))
        chosen = [n for n in rng.permutation(common).tolist() if n not in NOUNS]
        self.subjects = {
            f"s{k}": Thing(noun=noun, set=SUBJECTS)
            for k, noun in enumerate(chosen[: args.subjects])
        }
        self.others = chosen[args.subjects :]
        self.styles = {f"h{k}": HANDS[k % len(HANDS)] for k in range(args.styles)}
        cloths = [(pattern, colour) for colour in COLOURS for pattern in PATTERNS]
        self.cloths = {f"c{k}": cloths[k] for k in range(args.patterns)}

    def photos_of(self, name: str) -> list[Picture]:
        """What a concept is learned from: it is in all of them, and nothing else is."""
        grounds = cycle([Ground(scene=s) for s in SCENES] + [Ground(colour=c) for c in COLOURS])
        taken = [next(grounds) for _ in range(self.args.photos)]
        if name in self.subjects:
            things = [self.subjects[name]] * len(taken)
        elif name in self.styles:
            things = [Thing(noun=n, set=self.styles[name]) for n in self.others[: len(taken)]]
        else:
            pattern, colour = self.cloths[name]
            things = [
                Thing(noun=n, set="noto", pattern=pattern, colour=colour)
                for n in self.world.words["noto"][: len(taken)]
            ]
        return [Picture(thing=t, ground=g) for t, g in zip(things, taken, strict=True)]

    def drawn(self, things: Sequence[Thing], seed: int) -> list[Image.Image]:
        """True drawings, on grounds that no photo has."""
        rng = np.random.default_rng(seed)
        grounds = [Ground(colour=c, texture="dotted") for c in COLOURS]
        return [
            Image.fromarray(self.world.draw(Picture(thing=t, ground=g), rng))
            for t, g in zip(things, cycle(grounds), strict=False)
        ]

    def learn(self, name: str) -> dict[str, float]:
        """Train a concept, unless it is there; seconds."""
        if name in Registry(paths.concepts_dir()).names():
            return {"seconds": 0.0}
        folder = self.args.work / "photos" / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(sum(name.encode()))
        for k, picture in enumerate(self.photos_of(name)):
            Image.fromarray(self.world.draw(picture, rng)).save(folder / f"{k}.png")
            (folder / f"{k}.txt").write_text(plain_caption(picture), "utf-8")
        steps = self.args.train_steps
        flags = {"tokens.steps": steps, "finetuning.steps": steps}
        kind = "subject" if name in self.subjects else "style"
        request = TrainRequest(folder=folder, name=name, kind=kind, keep_similar=True, flags=flags)
        return {"seconds": train(request).seconds}

    def pictures(self, prompt: str, method: str | None = None) -> list[Image.Image]:
        """What `prism gen` draws of a prompt."""
        request = DrawRequest(
            prompt=prompt,
            count=self.args.pictures,
            seed=0,
            steps=self.args.draw_steps,
            method=method,
            out=self.args.work / "drawn",
            force=True,
        )
        shown = []
        for one in generate(request).pictures:
            with Image.open(one.path) as picture:
                shown.append(picture.convert("RGB"))
        return shown

    def bounds(self, name: str) -> dict[str, float]:
        """Of a subject: its true drawings among each other, and those of the other subjects."""
        own = self.judge.designs(self.drawn([self.subjects[name]] * 6, 1))
        rest = [thing for other, thing in self.subjects.items() if other != name]
        floor = likeness(own, self.judge.designs(self.drawn(rest, 2))) if rest else 0.0
        alone = self.judge.designs(self.pictures(f"[{name}]"))
        return {"ceiling": own_likeness(own), "floor": floor, "alone": likeness(alone, own)}

    def beside(self, one: str, other: str, method: str) -> dict[str, float]:
        """Two subjects, each in its half, and not in the other's."""
        name = self.composed(one, other, method)
        shown, found = self.pictures(f"[{name}]"), {}
        for subject, side, wrong in ((one, "left", "right"), (other, "right", "left")):
            truth = self.judge.designs(self.drawn([self.subjects[subject]] * 6, 1))
            found[subject] = likeness(self.judge.designs(shown, side), truth)
            found[f"{subject} swapped"] = likeness(self.judge.designs(shown, wrong), truth)
        return found

    def dressed(self, subject: str, look: str, method: str) -> dict[str, float]:
        """A subject in a style or a cloth, against that very thing as the world draws it."""
        thing = self.subjects[subject]
        if look in self.styles:
            true = Thing(noun=thing.noun, set=self.styles[look])
        else:
            pattern, colour = self.cloths[look]
            true = Thing(noun=thing.noun, set=thing.set, pattern=pattern, colour=colour)
        shown = self.judge.designs(self.pictures(f"[{self.composed(subject, look, method)}]"))
        truth, plain = (self.judge.designs(self.drawn([t] * 6, 1)) for t in (true, thing))
        return {
            "truth": likeness(shown, truth),
            "undressed": likeness(shown, plain),
            "ceiling": own_likeness(truth),
            "floor": likeness(plain, truth),
        }

    def composed(self, one: str, other: str, method: str) -> str:
        """The name of the composition, made now."""
        name = f"{one}-{other}-{method}"
        compose(
            ComposeRequest(names=(one, other), name=name, method=method, preview=False, force=True)
        )
        return name

    def moved(self, name: str) -> dict[str, Any]:
        """A subject on every noun: what `prism transfer` finds, and the nouns without it."""
        nouns = NOUNS[: self.args.nouns]
        result = transfer(
            TransferRequest(
                name=name,
                nouns=nouns,
                count=self.args.pictures,
                photos=self.args.work / "photos" / name,
                out=self.args.work / "drawn",
                steps=self.args.draw_steps,
                force=True,
            )
        )
        truth = self.judge.designs(self.drawn([self.subjects[name]] * 6, 1))
        plain = {noun: self.pictures(f"a photo of a {noun}") for noun in nouns}
        return {
            "weight": result.picked,
            "likeness": result.likeness,
            "presence": result.presence,
            "likeness floor": fmean(
                likeness(self.judge.designs(each), truth) for each in plain.values()
            ),
            "presence ceiling": fmean(
                self.judge.presence(each, noun) for noun, each in plain.items()
            ),
            "cells": {f"{s.noun} {s.weight:g}": [s.likeness, s.presence] for s in result.scores},
        }


def main() -> None:
    """Learn, compose, move; what is known already is not done again."""
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    os.environ["PRISM_HOME"] = str((args.work / "home").resolve())
    settings = {k: v for k, v in vars(args).items() if k not in {"artwork", "work"}}
    settings |= {"base": catalog.resolve("mini").revision, "torch": torch.__version__}
    results, bench = Results(args.work / "results.json", settings), Bench(args)
    subjects, styles, cloths = (list(each) for each in (bench.subjects, bench.styles, bench.cloths))
    for name in (*subjects, *styles, *cloths):
        results.once(f"train {name}", lambda name=name: bench.learn(name))
    for name in subjects:
        results.once(f"alone {name}", lambda name=name: bench.bounds(name))
    looks = [*styles, *cloths]
    for method in METHODS:
        for one, other in zip(subjects[::2], subjects[1::2], strict=False):
            results.once(
                f"beside {one} {other} {method}",
                lambda one=one, other=other, m=method: bench.beside(one, other, m),
            )
        for subject, look in zip(subjects, cycle(looks), strict=False) if looks else ():
            results.once(
                f"dressed {subject} {look} {method}",
                lambda subject=subject, look=look, m=method: bench.dressed(subject, look, m),
            )
    for name in subjects:
        results.once(f"transfer {name}", lambda name=name: bench.moved(name))


if __name__ == "__main__":
    main()
