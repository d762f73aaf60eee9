"""What a style takes on the practice base: the words it is learned in, what is said of its photos.

    python -m benchmarks.styles --artwork artwork/icons.npz

Learns the styles of the three held-out sets from five drawings each, in several ways, and draws
eight of the base's nouns that none of them shows. What counts is how probable the set's hand is to
`hands.py`, and whether the noun is read; beside it the base's own drawings of the nouns and the
set's. `prism train --kind style` is `USUAL`. A finding is a line of `--out`; `--part 1/2` and
`--part 2/2` are two processes that share the work.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np
import transformers

from benchmarks.hands import Hands
from benchmarks.peers.budget import Updates
from benchmarks.peers.concepts import PLAIN, Asked, Concept, concepts, shows
from benchmarks.peers.learners import LEARNERS, OWN, Learned
from benchmarks.results import Finding, Results, add_part
from benchmarks.truth_table import Bench
from mini.artwork import HELD_OUT
from mini.vocabulary import STYLES
from mini.world import Picture, Thing, World, article
from prism_cli.backbones import catalog
from prism_cli.backbones.families import in_style_on
from prism_cli.method.conditions import TEMPLATE

ASKED = ("cat", "elephant", "fish", "cactus", "teapot", "rocket", "ghost", "guitar")
IN_STYLE = in_style_on("mini")
SEEN, WRITTEN = "what the scorer is sure of", "what a person writes"
ITSELF = "the base's own drawings"
TRUE = "the set's drawings"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to learn a style. template: how target and residual stand together."""

    template: str
    captions: str
    rate: float | None = None  # of a LoRA that nothing holds; None: the LoRA is the recipe's

    def __str__(self) -> str:
        lora = "the recipe's" if self.rate is None else f"{self.rate:g}"
        return f'"{self.template}", {self.captions}, LoRA {lora}'


USUAL = Way(IN_STYLE, SEEN)
WAYS = (
    Way(TEMPLATE, SEEN, 3e-4),
    Way(IN_STYLE, SEEN, 3e-4),
    USUAL,
    Way(IN_STYLE, SEEN, 1e-3),
    Way(TEMPLATE, WRITTEN),
    Way(IN_STYLE, WRITTEN),
)


def styles_of(world: World) -> dict[str, Concept]:
    """The style of each held-out set, asked for on what none of its references shows."""
    every = (*concepts(world), *concepts(world, trial=True))
    styles = {concept.name: concept for concept in every if concept.kind == "style"}
    return {name: asked_for(styles[f"style of {name}"], name) for name in HELD_OUT}


def asked_for(style: Concept, name: str) -> Concept:
    """The concept with the prompts of `ASKED`."""
    asked = [
        Asked(
            template=IN_STYLE.format(article(noun)),
            truth=Picture(thing=Thing(noun=noun, set=name), ground=PLAIN),
            words={"noun": noun},
        )
        for noun in ASKED
    ]
    return replace(style, prompts=tuple(asked))


@dataclass(frozen=True, slots=True)
class Styles:
    """The bench, and who tells the hands apart."""

    bench: Bench
    hands: Hands

    def learned(self, way: Way, name: str, style: Concept, seed: int) -> Finding:
        """Train, draw, and judge."""
        backbone = copy.deepcopy(self.bench.base)
        lesson = replace(self.bench.lesson(style, backbone), template=way.template)
        if way.captions == WRITTEN:
            lesson = replace(lesson, captions={OWN: [shows(each) for each in style.references]})
        recipe = self.bench.recipe
        if way.rate is not None:
            plain = self.bench.plain
            recipe = replace(plain, finetuning=replace(plain.finetuning, lr=way.rate))
        updates = Updates(recipe.tokens.steps, recipe.finetuning.steps)
        learned = LEARNERS["prism"].learn(backbone, lesson, recipe, updates, seed)
        return self._judged(name, self.bench.draw(backbone, style, learned, seed))

    def itself(self, name: str, style: Concept) -> Finding:
        """What the base draws of the nouns, in no style."""
        plain = [replace(asked, template=article(asked.words["noun"])) for asked in style.prompts]
        bare = replace(style, prompts=tuple(plain))
        nothing = Learned(word="", steps=0)
        return self._judged(name, self.bench.draw(self.bench.base, bare, nothing, 0))

    def true(self, name: str, style: Concept) -> Finding:
        """What the set has of the nouns; not all sets have all."""
        world, rng = self.bench.world, np.random.default_rng(0)
        there = [asked for asked in style.prompts if asked.words["noun"] in world.words[name]]
        drawn = [[world.draw(asked.truth, rng)] * self.bench.images for asked in there]
        return self._judged(name, np.array(drawn), [asked.words["noun"] for asked in there])

    def _judged(self, name: str, drawn: np.ndarray, nouns: Sequence[str] = ASKED) -> Finding:
        flat = drawn.reshape(-1, *drawn.shape[2:])
        read, own = self.hands.read(flat), self.hands.sets.index(name)
        texts = list(self.hands.scorer.texts["noun"])
        named = self.hands.scorer.read(flat)[0]["noun"].argmax(-1).reshape(drawn.shape[:2])
        right = [
            (row == texts.index(noun)).float().mean().item()
            for row, noun in zip(named, nouns, strict=True)
        ]
        return {
            "probable": read[:, own].mean().item(),
            "likeliest": (read.argmax(1) == own).float().mean().item(),
            "noun": fmean(right),
        }


def table(found: Mapping[str, Finding], names: Sequence[str], seeds: int) -> Iterator[str]:
    """A line a way, a column a set: probable, means over seeds with their range; and nouns."""
    yield "| learned as | " + " | ".join(names) + " | likeliest of all hands | nouns read |"
    yield "| --- " * (len(names) + 3) + "|"
    for way in (ITSELF, *map(str, WAYS), TRUE):
        seen = range(seeds) if way not in (ITSELF, TRUE) else range(1)
        rows = {name: [found[key_of(way, name, seed)] for seed in seen] for name in names}
        columns = []
        for each in rows.values():
            values = [row["probable"] for row in each]
            spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
            columns.append(f"{fmean(values):.2f}{spread}")
        every = [row for each in rows.values() for row in each]
        columns += [f"{fmean(row[key] for row in every):.2f}" for key in ("likeliest", "noun")]
        yield f"| {way} | " + " | ".join(columns) + " |"


def key_of(way: str, name: str, seed: int) -> str:
    """Of a finding."""
    return f"{way}, {name}, seed {seed}"


def main() -> None:
    """Do what the results file lacks, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artwork", type=Path, required=True, help="icons.npz of mini.artwork")
    parser.add_argument("--out", type=Path, default=Path("styles.jsonl"))
    parser.add_argument("--seeds", type=int, default=3)
    add_part(parser)
    args = parser.parse_args()
    transformers.logging.disable_progress_bar()
    entry = catalog.resolve("mini")
    eyes = entry.folder / "scorer"
    bench = Bench.load(entry, args.artwork, eyes=eyes, images=4, drawing_steps=15)
    styles = styles_of(bench.world)
    shown = {
        picture.thing.noun
        for style in styles.values()
        for picture in style.references
        if picture.thing
    }
    hands = Hands.learn(bench.world, bench.judge.scorer, (*STYLES, *HELD_OUT), {*ASKED, *shown})
    measured = Styles(bench, hands)
    results = Results(args.out, {"base": entry.revision, "recipe": entry.recipe.flat()})
    jobs = {
        key_of(str(way), name, seed): partial(measured.learned, way, name, style, seed)
        for seed, way, (name, style) in product(range(args.seeds), WAYS, styles.items())
    }
    for name, style in styles.items():
        jobs[key_of(ITSELF, name, 0)] = partial(measured.itself, name, style)
        jobs[key_of(TRUE, name, 0)] = partial(measured.true, name, style)
    results.find(jobs, args.part)
    if not jobs.keys() - results.found.keys():
        print("\n".join(table(results.found, list(styles), args.seeds)))


if __name__ == "__main__":
    main()
