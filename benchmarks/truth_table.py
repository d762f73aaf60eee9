"""Prism and its peers against the truth, on concepts that neither base nor scorer has seen.

    python -m benchmarks.truth_table --artwork artwork/icons.npz [--steps 200 | --seconds 60]

`artwork/icons.npz` is made by `mini.artwork`; the second opinion takes two wheels, which
`mini/imagenet.py` names. Every learner has the same base, photos, captions, batch, learning rates
and budget. A finished training is a line of JSON in `--out` and is never done again. Prints means
over concepts with 95 % bootstrap intervals; `benchmarks/peers/` has what each number is. `--set
tokens.beta=0.1` changes a setting of the recipe for all of them, which is how defaults are found.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.peers.budget import Budget
from benchmarks.peers.concepts import Concept, concepts
from benchmarks.peers.judging import Judge
from benchmarks.peers.learners import LEARNERS, Learned, Lesson
from mini.imagenet import efficientnet
from mini.world import World, plain_caption
from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone, SamplingPlan
from prism_cli.encoders.scorer import Scorer
from prism_cli.files import write_whole
from prism_cli.method.bootstrap import mean_interval
from prism_cli.method.conditions import NULL
from prism_cli.runtime import detect, generator
from prism_cli.services.drawing import draw
from prism_cli.services.pictures import to_tensor
from prism_cli.settings import Recipe, resolve

TRUE, WORDS = "(true pictures)", "(words alone)"
AT_ONCE = 20  # pictures
NUMBERS = ("fidelity", "fidelity_net", "alignment", "harmonic", "leakage")


@dataclass(frozen=True)
class Bench:
    """What every training is given."""

    recipe: Recipe
    side: int  # of a picture, in px
    base: Backbone
    world: World
    judge: Judge
    budget: Budget
    images: int
    drawing_steps: int

    def run(self, learner: str, concept: Concept, seed: int) -> dict[str, Any]:
        """Learn, draw and judge: one row."""
        backbone = copy.deepcopy(self.base)
        lesson = self.lesson(concept, backbone)
        began = time.monotonic()
        if learner == WORDS:
            learned = Learned(word=concept.noun or "", steps=0)
        elif learner != TRUE:
            learned = LEARNERS[learner](backbone, lesson, self.recipe, self.budget, seed)
        seconds = time.monotonic() - began
        if learner == TRUE:
            drawn = np.stack(
                [self.judge.truth(concept, seed=1 + k).right for k in range(self.images)], 1
            )
            steps = 0
        else:
            drawn, steps = self.draw(backbone, concept, learned, seed), learned.steps
        verdict = self.judge.verdict(concept, drawn)
        return {"steps": steps, "seconds": round(seconds, 2), **verdict.numbers()}

    def lesson(self, concept: Concept, backbone: Backbone) -> Lesson:
        """The references, encoded, with the whole truth about each as its caption."""
        rng = np.random.default_rng(0)
        pictures = [self.world.draw(picture, rng) for picture in concept.references]
        return Lesson(
            z_0=backbone.encode_images(to_tensor(pictures))[:, None],
            captions=[plain_caption(picture) for picture in concept.references],
            nouns=[picture.thing.noun for picture in concept.references if picture.thing],
            noun=concept.noun,
        )

    @torch.no_grad()
    def draw(self, backbone: Backbone, concept: Concept, learned: Learned, seed: int) -> np.ndarray:
        """Its prompts' pictures: (P, images, 64, 64, 3) uint8."""
        plan = SamplingPlan(
            steps=self.drawing_steps,
            guidance=self.recipe.drawing.guidance,
            size=(self.side, self.side),
        )
        prompts = [learned.prompt(asked.template) for asked in concept.prompts]
        cond = backbone.encode_text(prompts, learned.rows)
        null = backbone.encode_text([NULL], {})
        every = list(product(range(len(prompts)), range(self.images)))
        drawn: list[np.ndarray] = []
        for some in (every[k : k + AT_ONCE] for k in range(0, len(every), AT_ONCE)):
            conditions = cond.take([p for p, _ in some])
            seeds = [1000 * seed + k for _, k in some]
            *_, last = draw(backbone, conditions, null.take([0] * len(some)), seeds, plan)
            drawn += [np.asarray(picture) for picture in last.pictures]
        return np.stack(drawn).reshape(len(prompts), self.images, self.side, self.side, 3)


def cells(
    chosen: Sequence[Concept], learners: Sequence[str], seeds: int
) -> Iterator[tuple[str, Concept, int]]:
    """Every training; the true pictures and the words need one seed."""
    for concept in chosen:
        for learner in learners:
            for seed in range(1 if learner in (TRUE, WORDS) else seeds):
                yield learner, concept, seed


def table(rows: Sequence[dict[str, Any]], learners: Sequence[str]) -> Iterator[str]:
    """Markdown: a line a learner, means over concepts of means over seeds."""
    yield "| learner | " + " | ".join(NUMBERS) + " | updates | seconds |"
    yield "| --- " * (len(NUMBERS) + 3) + "|"
    for learner in learners:
        mine = [row for row in rows if row["learner"] == learner]
        if not mine:
            continue
        shown = []
        for number in NUMBERS:
            by_concept = [
                fmean(row[number] for row in mine if row["concept"] == name)
                for name in sorted({row["concept"] for row in mine})
            ]
            found = mean_interval(by_concept, generator(0))
            interval = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
            shown.append(f"{found.mean:.2f}{interval}")
        cost = [f"{fmean(row[key] for row in mine):.0f}" for key in ("steps", "seconds")]
        yield f"| {learner} | " + " | ".join([*shown, *cost]) + " |"


def main() -> None:
    """Do what the results file lacks, and print the table."""
    names = [TRUE, WORDS, *LEARNERS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artwork", type=Path, required=True, help="icons.npz of mini.artwork")
    parser.add_argument("--base", default="mini", help="mini, or a folder of its form")
    parser.add_argument("--scorer", type=Path, help="another scorer's folder")
    parser.add_argument("--out", type=Path, default=Path("truth_table.jsonl"))
    parser.add_argument("--steps", type=int, default=200, help="updates of a whole training")
    parser.add_argument("--seconds", type=float, help="seconds of a whole training instead")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--concepts", type=int, default=99, help="only the first so many")
    parser.add_argument("--prompts", type=int, default=25, help="only the first so many of each")
    parser.add_argument("--images", type=int, default=4, help="of each prompt")
    parser.add_argument("--drawing-steps", type=int, default=30)
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the recipe"
    )
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="learners")
    args = parser.parse_args()
    transformers.logging.disable_progress_bar()
    entry, runtime = catalog.resolve(args.base), detect()
    world = World(args.artwork)
    scorer = Scorer.load(args.scorer or catalog.resolve("mini").folder / "scorer")
    budget = Budget(seconds=args.seconds) if args.seconds else Budget(steps=args.steps)
    changes = dict(change.split("=", 1) for change in args.set)
    flags = {name: json.loads(value) for name, value in changes.items()}
    bench = Bench(
        recipe=resolve(entry.recipe, flags=flags).recipe,
        side=entry.size,
        base=catalog.load(entry, runtime),
        world=world,
        judge=Judge(world, scorer, efficientnet()),
        budget=budget,
        images=args.images,
        drawing_steps=args.drawing_steps,
    )
    protocol = [
        *(entry.revision, budget.steps, budget.seconds),
        *(args.prompts, args.images, args.drawing_steps, sorted(args.set)),
    ]
    chosen = [
        Concept(
            name=each.name,
            kind=each.kind,
            noun=each.noun,
            references=each.references,
            prompts=each.prompts[: args.prompts],
        )
        for each in concepts(world)[: args.concepts]
    ]
    lines = args.out.read_text("utf-8").splitlines() if args.out.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(r["learner"], r["concept"], r["seed"]) for r in rows if r["protocol"] == protocol}
    for learner, concept, seed in cells(chosen, args.only, args.seeds):
        if (learner, concept.name, seed) in done:
            continue
        found = bench.run(learner, concept, seed)
        row = {"learner": learner, "concept": concept.name, "kind": concept.kind, "seed": seed}
        rows.append({**row, "protocol": protocol, **found})
        write_whole(args.out, "".join(f"{json.dumps(each)}\n" for each in rows).encode())
        print(f"{learner}, {concept.name}, seed {seed}: {found}", flush=True)
    known = {concept.name for concept in chosen}
    mine = [r for r in rows if r["protocol"] == protocol and r["concept"] in known]
    print("\n".join(table(mine, args.only)))


if __name__ == "__main__":
    main()
