"""Prism and its peers against the truth, on concepts that neither base nor scorer has seen.

    python -m benchmarks.truth_table --artwork artwork/icons.npz [--equal steps]

`artwork/icons.npz` is made by `mini.artwork`; the second opinion takes two wheels, which
`mini/imagenet.py` names. Every learner has the same base, photos, batch, rank and budget: as many
updates as the whole recipe of prism has, or as many as the same seconds buy, at the cost of an
update that is measured once, at the start, when nothing else should run. Captions, which only prism
looks at, are those that `prism train` would take: the practice base's own. Learning rates are the
recipe's, of its LoRA prism's alone: the others have `unheld`'s. `--trial` and `--set` look for them
on other concepts.

A finished training is a line of `--out` and is never done again; after `--costs`, `--part 1/2` and
`--part 2/2` are two processes that share the work. Prints means over the trainings that all
learners of a table have, with 95 % bootstrap intervals, and with `--found` trains nothing;
`benchmarks/peers/` has what each number is.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.interval import with_interval
from benchmarks.peers import judging
from benchmarks.peers.budget import BUDGET, Updates, unheld
from benchmarks.peers.concepts import Asked, Concept, concepts
from benchmarks.peers.judging import Judge
from benchmarks.peers.learners import (
    ASKED_FOR,
    BARE,
    COSTS,
    LEARNERS,
    NAMED,
    OWN,
    PRISM,
    Learned,
    Lesson,
)
from benchmarks.results import (
    WHOLE,
    Finding,
    Results,
    add_part,
    add_settings,
    digest,
    settings_of,
)
from mini import training
from mini.imagenet import efficientnet
from mini.world import World
from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone, SamplingPlan
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.backbones.families import in_style_on
from prism_cli.captioners.base import PLAIN
from prism_cli.captioners.world import look, sure, unshared, worded
from prism_cli.encoders.scorer import Scorer
from prism_cli.method.conditions import NULL, TEMPLATE
from prism_cli.runtime import detect
from prism_cli.services.drawing import draw
from prism_cli.services.pictures import to_tensor
from prism_cli.settings import Recipe, resolve

TRUE, WORDS = "(true pictures)", "(words alone)"
AT_ONCE = 20  # pictures
TIMED = 40  # updates
NUMBERS = {
    "fidelity": "fidelity", "fidelity_net": "by EfficientNet", "alignment": "alignment",
    "harmonic": "harmonic mean", "leakage": "leakage",
}  # fmt: skip
COMPARED = ("harmonic", "leakage")  # concept by concept
KINDS = {
    "all": None, "subjects": ("subject",), "styles": ("style",),
    "patterns and palettes": ("pattern", "palette"),
}  # fmt: skip
COSTS_KEY = "costs"


@dataclass(frozen=True)
class Bench:
    """What every training is given."""

    recipe: Recipe  # prism's
    plain: Recipe  # of a LoRA that nothing holds
    side: int  # of a picture, in px
    base: Backbone
    device: torch.device
    world: World
    judge: Judge
    reader: Scorer  # whose captions prism has, whoever judges
    images: int
    drawing_steps: int

    @classmethod
    def load(
        cls,
        entry: BaseEntry,
        artwork: Path,
        *,
        eyes: Path,
        changes: Mapping[str, Any] | None = None,
        images: int,
        drawing_steps: int,
    ) -> Bench:
        """On a base. eyes: a scorer's folder. changes: of the recipes, by setting."""
        runtime, world, flags = detect(), World(artwork), dict(changes or {})
        plain = unheld(entry.recipe)
        return cls(
            recipe=resolve(entry.recipe, flags=flags).recipe,
            plain=resolve(plain, flags=flags | {"finetuning.preservation": 0.0}).recipe,
            side=entry.size,
            base=catalog.load(entry, runtime),
            device=runtime.device,
            world=world,
            judge=Judge(world, Scorer.load(eyes), efficientnet()),
            reader=Scorer.load(catalog.resolve("mini").folder / "scorer"),
            images=images,
            drawing_steps=drawing_steps,
        )

    def run(self, learner: str, concept: Concept, seed: int, costs: Mapping[str, float]) -> Finding:
        """Learn, draw and judge: one row. costs: what `costs` gives; {}: all updates cost alike."""
        row = {"learner": learner, "concept": concept.name, "kind": concept.kind, "seed": seed}
        backbone = copy.deepcopy(self.base)
        if learner == TRUE:
            drawn = np.stack([each[: self.images] for each in self.judge.truth(concept, 1).right])
            return {
                **row,
                "steps": 0,
                "seconds": 0.0,
                **self.judge.verdict(concept, drawn).numbers(),
            }
        began = time.monotonic()
        if learner == WORDS:
            learned = Learned(word=concept.noun or "", steps=0)
        else:
            recipe, updates = self.given(learner, costs or None)
            lesson = self.lesson(concept, backbone)
            learned = LEARNERS[learner].learn(backbone, lesson, recipe, updates, seed)
        seconds = round(time.monotonic() - began, 2)
        verdict = self.judge.verdict(concept, self.draw(backbone, concept, learned, seed))
        return {
            **row,
            "steps": learned.steps,
            "seconds": seconds,
            "first loss": learned.first_loss,
            **verdict.numbers(),
        }

    def given(self, learner: str, costs: Mapping[str, float] | None) -> tuple[Recipe, Updates]:
        """A learner's settings and updates: prism's whole recipe, or what its budget buys."""
        stages = LEARNERS[learner].stages
        if stages == PRISM:
            return self.recipe, Updates(self.recipe.tokens.steps, self.recipe.finetuning.steps)
        budget = costs[BUDGET] if costs and BUDGET in costs else PRISM.price(self.recipe, costs)
        return self.plain, stages.share(self.plain, costs, budget=budget)

    def costs(self, concept: Concept) -> dict[str, float]:
        """Seconds of an update, by stage, and of prism's whole recipe."""
        found = {}
        for stage, (learner, one) in COSTS.items():
            self._seconds(concept, learner, one)  # the first is slower
            short, long = (
                self._seconds(concept, learner, Updates(n * one.words, n * one.lora))
                for n in (1, 1 + TIMED)
            )
            found[stage] = (long - short) / TIMED
        return {**found, BUDGET: PRISM.price(self.recipe, found)}

    def _seconds(self, concept: Concept, learner: str, given: Updates) -> float:
        """How long a learner takes for some updates."""
        backbone = copy.deepcopy(self.base)
        lesson = self.lesson(concept, backbone)
        began = time.monotonic()
        LEARNERS[learner].learn(backbone, lesson, self.recipe, given, 0)
        return time.monotonic() - began

    def lesson(self, concept: Concept, backbone: Backbone) -> Lesson:
        """The references, encoded, captioned as `prism train` would."""
        rng = np.random.default_rng(0)
        pictures = np.stack([self.world.draw(picture, rng) for picture in concept.references])
        seen = sure(self.reader, pictures)
        return Lesson(
            z_0=backbone.encode_images(to_tensor(list(pictures)))[:, None],
            captions={
                OWN: [worded(each) or PLAIN.text for each in unshared(seen)],
                NAMED: [worded(each) or PLAIN.text for each in seen],
                BARE: [PLAIN.text] * len(pictures),
            },
            nouns=[picture.thing.noun for picture in concept.references if picture.thing],
            noun=concept.noun,
            look=look(seen) if concept.kind != "style" else "",
            template=in_style_on("mini") if concept.kind == "style" else TEMPLATE,
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
            with training.half(self.device):
                *_, last = draw(backbone, conditions, null.take([0] * len(some)), seeds, plan)
            drawn += [np.asarray(picture) for picture in last.pictures]
        return np.stack(drawn).reshape(len(prompts), self.images, self.side, self.side, 3)


def cells(
    chosen: Sequence[Concept], learners: Sequence[str], seeds: int
) -> Iterator[tuple[str, Concept, int]]:
    """Every training, seed by seed; the true pictures, which no noise changes, need one."""
    for seed in range(seeds):
        for concept, learner in product(chosen, learners):
            if not seed or learner != TRUE:
                yield learner, concept, seed


def said(concept: Concept, template: str) -> Concept:
    """A style, asked for by a template of {}, the thing, and * in place of "a * cat"."""
    if concept.kind != "style":
        return concept

    def reworded(asked: Asked) -> Asked:
        before, _, after = asked.template.partition("* ")
        noun, *place = after.split(" ", 1)
        return replace(
            asked, template=" ".join([template.replace("{}", f"{before}{noun}"), *place])
        )

    return replace(concept, prompts=tuple(map(reworded, concept.prompts)))


def key_of(learner: str, concept: Concept, seed: int) -> str:
    """Of a training, in the results."""
    return f"{learner}, {concept.name}, seed {seed}"


def tables(rows: Sequence[Finding], learners: Sequence[str]) -> Iterator[str]:
    """Markdown, for all kinds and each; of the trainings that all learners of a table have.

    Prism with its peers, then what ablations are of with those; last, what each was given.
    """
    there = {row["learner"] for row in rows}
    learned = [name for name in (*LEARNERS, WORDS, TRUE) if name in learners and name in there]
    for title, kinds in KINDS.items():
        mine = [row for row in rows if not kinds or row["kind"] in kinds]
        for group in groups(learned):
            shared = of_all(mine, group)
            if shared:
                yield f"\n{title}, {trainings(shared)}\n"
                yield from table(shared, group)
    if shared := of_all(rows, learned):
        yield from ("", *efforts(shared, learned))


def of_all(rows: Sequence[Finding], learners: Sequence[str]) -> list[Finding]:
    """The rows of learners, of the concepts and seeds that all of them have.

    Where a seed has all concepts, one that is under way does not count yet. The true pictures' one
    row of a concept stands beside all seeds.
    """
    done = {
        name: {(row["concept"], row["seed"]) for row in rows if row["learner"] == name}
        for name in learners
    }
    seeded = [found for name, found in done.items() if name != TRUE]
    cells = set.intersection(*(seeded or done.values() or [set()]))
    if TRUE in done:
        cells = {cell for cell in cells if (cell[0], 0) in done[TRUE]}
    concepts, seeds = ({cell[k] for cell in cells} for k in (0, 1))
    whole = {seed for seed in seeds if cells >= set(product(concepts, [seed]))}
    cells = {cell for cell in cells if cell[1] in whole} or cells
    drawn = {(concept, 0) for concept, _ in cells}
    return [
        row
        for row in rows
        if row["learner"] in done
        and (row["concept"], row["seed"]) in (drawn if row["learner"] == TRUE else cells)
    ]


def trainings(rows: Sequence[Finding]) -> str:
    """How many concepts and seeds a table is of, in words."""
    concepts = {row["concept"] for row in rows}
    cells = {(row["concept"], row["seed"]) for row in rows if row["learner"] != TRUE}
    counts = {"concept": len(concepts), "seed": len(cells or concepts) / len(concepts)}
    return ", ".join(f"{n:.3g} {what}{'' if n == 1 else 's'}" for what, n in counts.items())


def groups(learners: Sequence[str]) -> list[list[str]]:
    """Learners that stand in one table, behind the one that they are compared with."""
    than = {name: LEARNERS[name].than if name in LEARNERS else "prism" for name in learners}
    heads = [name for name in learners if name in than.values()]
    alone = [name for name in learners if than[name] not in heads and name not in heads]
    found = [
        [head, *(name for name in learners if than[name] == head and name != head)]
        for head in heads
    ]
    return [group for group in found if len(group) > 1] or [[*heads, *alone]]


def means(rows: Sequence[Finding], learner: str, number: str) -> list[float]:
    """Over seeds, of each concept."""
    mine = [row for row in rows if row["learner"] == learner]
    names = sorted({row["concept"] for row in mine})
    return [fmean(row[number] for row in mine if row["concept"] == name) for name in names]


def table(rows: Sequence[Finding], learners: Sequence[str]) -> Iterator[str]:
    """A line a learner: means over concepts, and differences to the first learner's."""
    heads = (*NUMBERS.values(), *(f"{NUMBERS[n]}, less the first's" for n in COMPARED))
    yield "| learner | " + " | ".join(heads) + " |"
    yield "| --- " * (len(heads) + 1) + "|"
    first, *_ = learners
    for learner in learners:
        shown = [with_interval(means(rows, learner, number)) for number in NUMBERS]
        for number in COMPARED:
            pairs = zip(means(rows, learner, number), means(rows, first, number), strict=True)
            less = with_interval([one - other for one, other in pairs], "+.2f")
            shown.append("" if learner == first else less)
        yield f"| {learner} | " + " | ".join(shown) + " |"


def efforts(rows: Sequence[Finding], learners: Sequence[str]) -> Iterator[str]:
    """A line a learner: updates, seconds, and the loss of a fixed batch before the first step."""
    yield "| learner | updates | seconds | loss at step 0 |"
    yield "| --- " * 4 + "|"
    for learner in learners:
        given = [f"{fmean(means(rows, learner, key)):.0f}" for key in ("steps", "seconds")]
        known = all(row.get("first loss") is not None for row in rows if row["learner"] == learner)
        loss = with_interval(means(rows, learner, "first loss"), ".3f") if known else ""
        yield f"| {learner} | " + " | ".join((*given, loss)) + " |"


def arguments() -> argparse.Namespace:
    """The defaults are the whole table."""
    names = [TRUE, WORDS, *LEARNERS]
    whole = [name for name in names if name not in ASKED_FOR]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artwork", type=Path, required=True, help="icons.npz of mini.artwork")
    parser.add_argument("--base", default="mini", help="mini, or a folder of its form")
    parser.add_argument("--scorer", type=Path, help="another scorer's folder")
    parser.add_argument("--out", type=Path, default=Path("truth_table.jsonl"))
    parser.add_argument("--found", action="store_true", help="only print what is there")
    parser.add_argument("--costs", action="store_true", help="only measure what an update costs")
    parser.add_argument("--equal", choices=("seconds", "steps"), default="seconds")
    parser.add_argument("--trial", action="store_true", help="the concepts for trying things out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--concepts", type=int, default=99, help="only the first so many")
    parser.add_argument("--prompts", type=int, default=25, help="only the first so many of each")
    parser.add_argument("--images", type=int, default=4, choices=range(1, judging.TRUE + 1))
    parser.add_argument("--drawing-steps", type=int, default=30)
    parser.add_argument(
        "--said",
        default=in_style_on("mini"),
        metavar="TEXT",
        help="how a style is asked for: the thing, {}, and the style, *",
    )
    add_settings(parser)
    parser.add_argument("--only", nargs="+", choices=names, default=whole, help="learners")
    add_part(parser)
    return parser.parse_args()


def main() -> None:
    """Do what the results file lacks, and print the tables."""
    args = arguments()
    transformers.logging.disable_progress_bar()
    entry = catalog.resolve(args.base)
    eyes = args.scorer or catalog.resolve("mini").folder / "scorer"
    bench = Bench.load(
        entry,
        args.artwork,
        eyes=eyes,
        changes=settings_of(args),
        images=args.images,
        drawing_steps=args.drawing_steps,
    )
    settings = {
        "base": entry.revision, "scorer": digest(eyes / "model.safetensors"),
        "artwork": digest(args.artwork), "judging": judging.VERSION, "equal": args.equal,
        "trial": args.trial, "prompts": args.prompts, "images": args.images,
        "drawing steps": args.drawing_steps, "recipe": bench.recipe.flat(),
        "plain recipe": bench.plain.flat(), "said": args.said,
    }  # fmt: skip
    chosen = [
        replace(each, prompts=each.prompts[: args.prompts])
        for each in (
            said(each, args.said)
            for each in concepts(bench.world, trial=args.trial)[: args.concepts]
        )
    ]
    results = Results(args.out, settings)
    costs = {}
    if args.equal == "seconds" and not args.found:
        if COSTS_KEY not in results.found and args.part != WHOLE:
            raise SystemExit("measure the updates first, with nothing else running: --costs")
        costs = results.once(COSTS_KEY, lambda: bench.costs(chosen[0]))
    if args.costs:
        return
    jobs = {
        key_of(learner, concept, seed): partial(bench.run, learner, concept, seed, costs)
        for learner, concept, seed in cells(chosen, args.only, args.seeds)
    }
    if not args.found:
        results.find(jobs, args.part)
    rows = [results.found[key] for key in jobs if key in results.found]
    print("\n".join(tables(rows, args.only)))


if __name__ == "__main__":
    main()
