"""What captions do on the practice base: its own captions against none, all else equal.

    python -m benchmarks.captions --artwork FOLDER [--concepts 12] [--seeds 3] [--out FILE]
    python -m benchmarks.captions --artwork FOLDER --thresholds

A concept is a drawing of a set that neither the base nor its scorer ever saw, on five different
grounds. It is learned as a user would learn it, once with each choice and seed, and drawn on four
grounds that no reference has. Each run is a line of --out as soon as it is done, and is never done
again; `--part 1/2` and `--part 2/2` are two processes that share the work.

The choices: "auto" are the base's own captions, which leave out what most photos share; "whole" say
that too, as the supplement's do (section 10); "none" is "a photo" for each. Printed, for each
choice and for its difference to none, as a mean with a 95 % interval over concepts (bootstrap):

- fidelity: likeness (cosine) of the drawn designs to the references' mean design; higher is better.
- leakage: the chance that the scorer gives to a ground of the references; lower is better.
- obeyed: the share of pictures whose ground is read as the one that was prompted.
- rec 0, excl 0: the two losses on a fixed batch before the first step.

--thresholds prints what `prism_cli.captioners.world` takes its thresholds from.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
import transformers
from numpy.random import Generator
from PIL import Image

from benchmarks.interval import with_interval
from benchmarks.results import Finding, Results, add_part
from mini.artwork import HELD_OUT
from mini.scorer import labels
from mini.world import Ground, Picture, Thing, World, some_ground
from prism_cli.backbones import catalog
from prism_cli.captioners.world import PAIRED, THRESHOLDS, UNSAID, sure, worded
from prism_cli.encoders.scorer import Scorer, half
from prism_cli.method.conditions import NULL
from prism_cli.method.convergence import evaluation_draw
from prism_cli.method.token_optimization import token_losses
from prism_cli.method.tokens import init_tokens
from prism_cli.registry.archive import read_manifest
from prism_cli.runtime import detect, generator
from prism_cli.services.caption import SCORER
from prism_cli.services.generate import DrawRequest, generate
from prism_cli.services.pictures import to_tensor
from prism_cli.services.prepare import TrainRequest
from prism_cli.services.train import train

CHOICES = ("none", "auto", "whole")
SOURCES = {"auto": "auto", "whole": "files", "none": "none"}
REFERENCES, UNSEEN, EACH = 5, 4, 2  # grounds of each kind, pictures drawn on each of the latter
TIMES = 6  # of each reference, in the fixed batch
PICTURES = 2000  # for the thresholds


@dataclass(frozen=True, slots=True)
class Concept:
    """A drawing, the grounds of its references and those that it is drawn on."""

    thing: Thing
    seen: tuple[Ground, ...]
    unseen: tuple[Ground, ...]


MEASURES = ("fidelity", "leakage", "obeyed", "rec 0", "excl 0")


def concepts(world: World, count: int) -> list[Concept]:
    """The first `count` of an endless list that never changes: the sets in turn, no noun twice."""
    rng, nouns, found = np.random.default_rng(0), set[str](), list[Concept]()
    while len(found) < count:
        name = HELD_OUT[len(found) % len(HELD_OUT)]
        noun = str(rng.choice([word for word in world.words[name] if word not in nouns]))
        nouns.add(noun)
        grounds: dict[str, Ground] = {}
        while len(grounds) < REFERENCES + UNSEEN:
            ground = some_ground(rng)
            grounds[ground.words()] = ground
        every = tuple(grounds.values())
        found.append(Concept(Thing(noun=noun, set=name), every[:REFERENCES], every[REFERENCES:]))
    return found


def references(world: World, concept: Concept, rng: Generator) -> np.ndarray:
    """The concept on each of its grounds, (REFERENCES, 64, 64, 3) uint8."""
    sizes = rng.choice(("medium", "large"), REFERENCES)
    described = [
        Picture(thing=concept.thing, ground=ground, size=str(size))
        for ground, size in zip(concept.seen, sizes, strict=True)
    ]
    return np.stack([world.draw(each, rng) for each in described])


def learned(
    concept: Concept, photos: np.ndarray, choice: str, seed: int, scorer: Scorer, steps: int | None
) -> Finding:
    """Learn the concept with this choice of captions, draw it, and read what was drawn."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["PRISM_HOME"] = str(Path(place) / "home")
        folder = Path(place) / "photos"
        folder.mkdir()
        for k, picture in enumerate(photos):
            Image.fromarray(picture).save(folder / f"{k}.png")
            if choice == "whole" and (said := worded(sure(scorer, picture[None])[0])):
                (folder / f"{k}.txt").write_text(said, "utf-8")
        capped = {} if steps is None else {"tokens.steps": steps, "finetuning.steps": steps}
        archive = train(
            TrainRequest(
                folder=folder,
                name="zuzu",
                base="mini",
                seed=seed,
                flags={"captions.source": SOURCES[choice], **capped},
            )
        )
        captions = tuple(photo.caption for photo in read_manifest(archive.path).photos)
        drawn = []
        for ground in concept.unseen:
            request = DrawRequest(
                prompt=f"a [zuzu] {ground.words()}",
                count=EACH,
                seed=seed * EACH,
                out=Path(place) / "drawn",
            )
            drawn += [np.array(Image.open(each.path)) for each in generate(request).pictures]
    rec, excl = first_losses(photos, captions, seed)
    fidelity, leakage, obeyed = read(scorer, np.stack(drawn), photos, concept)
    return {
        "concept": asdict(concept.thing),
        "captions": captions,
        "fidelity": fidelity,
        "leakage": leakage,
        "obeyed": obeyed,
        "rec 0": rec,
        "excl 0": excl,
    }


def read(
    scorer: Scorer, drawn: np.ndarray, photos: np.ndarray, concept: Concept
) -> tuple[float, float, float]:
    """Fidelity, leakage and obedience of pictures (UNSEEN * EACH, 64, 64, 3)."""
    logits, designs = scorer.read(drawn)
    _, true = scorer.read(photos)
    mean = torch.nn.functional.normalize(true.mean(0), dim=0)
    words = list(scorer.texts["ground"])
    chance = logits["ground"].softmax(-1)
    seen = [words.index(ground.words()) for ground in concept.seen]
    wanted = [words.index(g.words()) for g in concept.unseen for _ in range(EACH)]
    obeyed = chance.argmax(-1) == torch.tensor(wanted)
    return (
        (designs @ mean).mean().item(),
        chance[:, seen].sum(-1).mean().item(),
        obeyed.float().mean().item(),
    )


@torch.no_grad()
def first_losses(photos: np.ndarray, captions: Sequence[str], seed: int) -> tuple[float, float]:
    """L_rec and L_excl on a fixed batch, before the first step."""
    backbone = catalog.load(catalog.resolve("mini"), detect())
    z_0 = backbone.encode_images(to_tensor(list(photos)))[:, None]
    tokens = init_tokens(
        backbone, "zuzu", captions, length=1, word=None, residual_length=None, rng=generator(seed)
    )
    fixed = evaluation_draw(backbone, z_0, per_photo=TIMES, negatives=1, rng=generator(1))
    losses = token_losses(backbone, z_0, fixed, tokens, backbone.encode_text([NULL], {}))
    return losses.rec.mean().item(), losses.excl.mean().item()


def key_of(concept: int, seed: int, choice: str) -> str:
    """Of a run, in the results."""
    return f"{concept}/{seed}/{choice}"


def report(runs: Mapping[str, Finding], count: int, seeds: int) -> None:
    """Print a table of each measure, of the choices that all is known of.

    A concept's seeds are taken as one.
    """
    known = [
        choice
        for choice in CHOICES
        if {key_of(k, seed, choice) for k in range(count) for seed in range(seeds)} <= runs.keys()
    ]
    if not known:
        return
    bare, *others = known
    print(f"\n{count} concepts, {seeds} seeds\n")
    print("| | " + " | ".join((*known, *(f"{c}, less {bare}" for c in others))) + " |")
    print("| --- " * 2 * len(known) + "|")
    for measure in MEASURES:
        means = {
            choice: [
                fmean(runs[key_of(k, seed, choice)][measure] for seed in range(seeds))
                for k in range(count)
            ]
            for choice in known
        }
        cells = [with_interval(values, ".3f") for values in means.values()]
        for choice in others:
            pairs = zip(means[choice], means[bare], strict=True)
            cells.append(with_interval([one - less for one, less in pairs], "+.3f"))
        print(f"| {measure} | {' | '.join(cells)} |")


def thresholds(world: World, scorer: Scorer) -> None:
    """Print how true the captioner's words are in hands never seen: of one thing, and of pairs."""
    rng = np.random.default_rng(5)
    single, pairs = (described(world, rng, paired=paired) for paired in (False, True))
    one, two = (np.stack([world.draw(each, rng) for each in some]) for some in (single, pairs))
    left = [replace(each, beside=None) for each in pairs]
    right = [replace(each, thing=each.beside, beside=None) for each in pairs]
    true_words("one thing", scorer, one, single, THRESHOLDS)
    true_words("left of a pair", scorer, half(two, "left"), left, PAIRED)
    true_words("right of a pair", scorer, half(two, "right"), right, PAIRED)
    for what, pictures in (("one thing", one), ("a pair", two)):
        taken = fmean(len(seen.things) == 2 for seen in sure(scorer, pictures))
        print(f"{what}: {taken:.1%} are taken for a pair")


def described(world: World, rng: Generator, *, paired: bool) -> list[Picture]:
    """PICTURES of things in the hands never seen."""
    found = list[Picture]()
    while len(found) < PICTURES:
        picture = world.sample(rng, HELD_OUT)
        if picture.thing is not None and (picture.beside is not None) == paired:
            found.append(picture)
    return found


def true_words(
    what: str,
    scorer: Scorer,
    pixels: np.ndarray,
    pictures: Sequence[Picture],
    least: Mapping[str, float],
) -> None:
    """Print, of each attribute, how much of what is said is true and of what is there is said."""
    logits, _ = scorer.read(pixels)
    truth = [labels(each) for each in pictures]
    for attribute, threshold in least.items():
        right = torch.tensor([each[attribute] for each in truth])
        chance, best = logits[attribute].softmax(-1).max(-1)
        words = list(scorer.texts[attribute])
        silent = words.index(UNSAID[attribute]) if attribute in UNSAID else -1
        said = (right >= 0) & (best != silent) & (chance >= threshold)
        there = (right >= 0) & (right != silent)
        true = said & (best == right)
        print(
            f"{what}, {attribute} at {threshold:.2f}: {true.sum() / said.sum():.0%} of what is said"
            f" is true, {true.sum() / there.sum():.0%} of what is there is said"
        )


def main() -> None:
    """Do the runs that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artwork", type=Path, required=True, help="where mini.artwork wrote")
    parser.add_argument("--concepts", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of each stage, to try this; else the base's")
    parser.add_argument("--out", type=Path, default=Path("captions.jsonl"))
    parser.add_argument("--thresholds", action="store_true")
    add_part(parser)
    args = parser.parse_args()
    transformers.logging.disable_progress_bar()
    world, entry = World(args.artwork / "icons.npz"), catalog.resolve("mini")
    scorer = Scorer.load(entry.folder / SCORER)
    if args.thresholds:
        thresholds(world, scorer)
        return
    settings = {"base": entry.revision, "recipe": entry.recipe.flat(), "steps": args.steps}
    results = Results(args.out, settings)
    lessons = [
        (concept, references(world, concept, np.random.default_rng(k)))
        for k, concept in enumerate(concepts(world, args.concepts))
    ]
    jobs = {
        key_of(k, seed, choice): partial(learned, *lesson, choice, seed, scorer, args.steps)
        for choice, (k, lesson), seed in product(CHOICES, enumerate(lessons), range(args.seeds))
    }
    results.find(jobs, args.part)
    report(results.found, args.concepts, args.seeds)


if __name__ == "__main__":
    main()
