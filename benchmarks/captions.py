"""What captions do on the practice base: its own captions (auto) against none, all else equal.

    python -m benchmarks.captions --artwork FOLDER [--concepts 12] [--seeds 3] [--out captions.json]
    python -m benchmarks.captions --artwork FOLDER --thresholds

A concept is a drawing of a set that neither the base nor its scorer ever saw, on five different
grounds. It is learned as a user would learn it, once with each choice and seed, and drawn on four
grounds that no reference has. Each run is written to --out when it is done, and a run that is in it
is not done again. Printed, for each choice and for the difference, as a mean with a 95 % interval
over concepts (bootstrap):

- fidelity: likeness (cosine) of the drawn designs to the references' mean design; higher is better.
- leakage: the chance that the scorer gives to a ground of the references; lower is better.
- obeyed: the share of pictures whose ground is read as the one that was prompted.
- rec 0, excl 0: the two losses on a fixed batch before the first step.

--thresholds prints what `prism_cli.captioners.world` takes its thresholds from.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from numpy.random import Generator
from PIL import Image

from benchmarks.interval import with_interval
from mini.artwork import HELD_OUT
from mini.scorer import labels
from mini.world import Ground, Picture, Thing, World, some_ground
from prism_cli.backbones import catalog
from prism_cli.captioners.world import THRESHOLDS, UNSAID
from prism_cli.encoders.scorer import Scorer
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

CHOICES = ("auto", "none")
REFERENCES, UNSEEN, EACH = 5, 4, 2  # grounds of each kind, pictures drawn on each of the latter
TIMES = 6  # of each reference, in the fixed batch
PICTURES = 2000  # for the thresholds


@dataclass(frozen=True, slots=True)
class Concept:
    """A drawing, the grounds of its references and those that it is drawn on."""

    thing: Thing
    seen: tuple[Ground, ...]
    unseen: tuple[Ground, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """What came of one training; captions: what its residual tokens started from."""

    fidelity: float
    leakage: float
    obeyed: float
    rec_0: float
    excl_0: float
    captions: tuple[str, ...]


MEASURES = ("fidelity", "leakage", "obeyed", "rec_0", "excl_0")


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


def run(
    concept: Concept, photos: np.ndarray, choice: str, seed: int, scorer: Scorer, steps: int | None
) -> Scores:
    """Learn the concept with this choice of captions, draw it, and read what was drawn."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["PRISM_HOME"] = str(Path(place) / "home")
        folder = Path(place) / "photos"
        folder.mkdir()
        for k, picture in enumerate(photos):
            Image.fromarray(picture).save(folder / f"{k}.png")
        capped = {} if steps is None else {"tokens.steps": steps, "finetuning.steps": steps}
        learned = train(
            TrainRequest(
                folder=folder,
                name="zuzu",
                base="mini",
                seed=seed,
                flags={"captions.source": choice, **capped},
            )
        )
        captions = tuple(photo.caption for photo in read_manifest(learned.path).photos)
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
    return Scores(*read(scorer, np.stack(drawn), photos, concept), rec, excl, captions)


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


def report(runs: dict[str, dict[str, object]], count: int, seeds: int) -> None:
    """Print each measure, a concept's seeds taken as one."""
    print(f"{count} concepts, {seeds} seeds")
    for measure in MEASURES:
        means = {
            choice: np.array(
                [
                    np.mean([runs[f"{k}/{seed}/{choice}"][measure] for seed in range(seeds)])
                    for k in range(count)
                ]
            )
            for choice in CHOICES
        }
        shown = [
            f"{choice} {with_interval(values.tolist(), '+.3f')}" for choice, values in means.items()
        ]
        difference = with_interval((means["auto"] - means["none"]).tolist(), "+.3f")
        print(f"{measure:9} {'  '.join(shown)}  difference {difference}")


def thresholds(world: World, scorer: Scorer) -> None:
    """Print how true the captioner's words are on pictures of one thing in hands never seen."""
    rng, described = np.random.default_rng(5), list[Picture]()
    while len(described) < PICTURES:
        picture = world.sample(rng, HELD_OUT)
        if picture.thing is not None and picture.beside is None:
            described.append(picture)
    logits, _ = scorer.read(np.stack([world.draw(each, rng) for each in described]))
    truth = [labels(each) for each in described]
    for attribute, least in THRESHOLDS.items():
        right = torch.tensor([each[attribute] for each in truth])
        chance, best = logits[attribute].softmax(-1).max(-1)
        words = list(scorer.texts[attribute])
        silent = words.index(UNSAID[attribute]) if attribute in UNSAID else -1
        said = (right >= 0) & (best != silent) & (chance >= least)
        there = (right >= 0) & (right != silent)
        true = said & (best == right)
        print(
            f"{attribute:8} at {least:.2f}: {true.sum() / said.sum():.0%} of what is said is true,"
            f" {true.sum() / there.sum():.0%} of what is there is said"
        )


def main() -> None:
    """Do the runs that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artwork", type=Path, required=True, help="where mini.artwork wrote")
    parser.add_argument("--concepts", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of each stage, to try this; else the base's")
    parser.add_argument("--out", type=Path, default=Path("captions.json"))
    parser.add_argument("--thresholds", action="store_true")
    args = parser.parse_args()
    transformers.logging.disable_progress_bar()
    world = World(args.artwork / "icons.npz")
    scorer = Scorer.load(catalog.resolve("mini").folder / SCORER)
    if args.thresholds:
        thresholds(world, scorer)
        return
    runs = json.loads(args.out.read_text("utf-8")) if args.out.is_file() else {}
    settings = {"base": catalog.resolve("mini").revision, "steps": args.steps}
    if runs.setdefault("settings", settings) != settings:
        raise SystemExit(f"{args.out} is of another run: {runs['settings']}")
    for k, concept in enumerate(concepts(world, args.concepts)):
        photos = references(world, concept, np.random.default_rng(k))
        for seed in range(args.seeds):
            for choice in CHOICES:
                key = f"{k}/{seed}/{choice}"
                if key in runs:
                    continue
                scores = run(concept, photos, choice, seed, scorer, args.steps)
                runs[key] = asdict(scores) | {"concept": asdict(concept.thing)}
                args.out.write_text(json.dumps(runs, indent=1) + "\n", "utf-8")
                print(key, {m: round(runs[key][m], 3) for m in MEASURES}, flush=True)
    report(runs, args.concepts, args.seeds)


if __name__ == "__main__":
    main()
