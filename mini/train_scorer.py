"""Train the scorer on pictures of the world.

    python -m mini.train_scorer --artwork artwork --minutes 15

Two losses: each attribute's cross entropy over its texts, and InfoNCE between two pictures of one
design (other ground, other size, other place) against the batch, where the same noun in another
design is always among the wrong answers. `--start prism_cli/bases/mini/scorer` goes on from the
shipped weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from mini import training
from mini.artwork import CODE_POINTS, folder_of
from mini.imagenet import mobilenet
from mini.scorer import TEXTS, labels, untrained
from mini.tokenizer import tokenizer
from mini.vocabulary import GROUND_COLOURS, SIZES
from mini.world import Ground, Picture, Thing, World, held_out_cell, some_ground
from prism_cli.encoders.scorer import DESIGN, Scorer, half, pixels

TEMPERATURE = 0.1  # of InfoNCE
PAIRS = 0.1  # the share of pictures that are halves of pairs


def viewed(
    world: World, thing: Thing, rng: Generator, plain: float
) -> tuple[np.ndarray, dict[str, int]]:
    """The thing and its labels, on some ground at some size; now and then as half of a pair.

    plain: the share that is large, on one colour.
    """
    easy = rng.random() < plain
    picture = Picture(
        thing=thing,
        ground=Ground(colour=str(rng.choice(GROUND_COLOURS))) if easy else some_ground(rng),
        size="large" if easy else str(rng.choice(tuple(SIZES))),
    )
    truth = labels(picture)
    if easy or rng.random() > PAIRS:
        return world.draw(picture, rng), truth
    other = world.sample(rng).thing
    if other is None:
        return world.draw(picture, rng), truth
    side = str(rng.choice(("left", "right")))
    pair = (thing, other) if side == "left" else (other, thing)
    both = replace(picture, thing=pair[0], beside=pair[1])
    return half(world.draw(both, rng)[None], side)[0], truth | {"size": -100, "ground": -100}


@dataclass
class Views:
    """Draws a batch of designs, and labels it."""

    world: World
    batch: int

    def __call__(self, rng: Generator, plain: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Pictures (batch, 3, 64, 64) in fours, two designs of a noun, each twice; their labels.

        plain: the share of easy pictures, and of things in their own colours.
        """
        world = self.world
        drawn: list[np.ndarray] = []
        truth = []
        while len(drawn) < self.batch:
            thing = world.sample(rng).thing
            if thing is None:
                continue
            if rng.random() < plain:
                thing = replace(thing, colour=None, pattern=None)
            others = [
                name
                for name in world.hands(thing.noun)
                if name != thing.set and not held_out_cell(thing.noun, name)
            ]
            for which in (thing, replace(thing, set=str(rng.choice(others)))):
                for _ in range(2):
                    picture, right = viewed(world, which, rng, plain)
                    drawn.append(picture)
                    truth.append(right)
        return (
            pixels(np.stack(drawn)),
            {name: torch.tensor([right[name] for right in truth]) for name in TEXTS},
        )


def disturbed(x: Tensor, share: float) -> Tensor:
    """Half of the pictures mirrored, and `share` turned, moved, resized, softened and made noisy.

    A judge of drawn pictures must read what is a little off.
    """

    def random(*size: int) -> Tensor:
        return torch.rand(*size, len(x), device=x.device)

    strength = (random() < share).float()
    angle = strength * (random() - 0.5) * 0.5
    scale = 1 + strength * (random() - 0.5) * 0.3
    mirror = torch.where(random() < 0.5, -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    shift = 0.25 * strength * (random(2) - 0.5)  # of half the side
    turn = torch.stack(
        [
            torch.stack([mirror * cos, -sin, shift[0]], -1),
            torch.stack([mirror * sin, cos, shift[1]], -1),
        ],
        1,
    )
    grid = functional.affine_grid(turn, list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    soft = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = x.lerp(soft, (strength * random())[:, None, None, None])
    return (x + 0.04 * strength[:, None, None, None] * torch.randn_like(x)).clamp(0, 1)


def same_design(seen: Tensor) -> Tensor:
    """InfoNCE over a batch whose rows 2k and 2k + 1 show one design."""
    design = functional.normalize(seen[:, :DESIGN], dim=-1)
    likeness = design @ design.T / TEMPERATURE
    likeness.fill_diagonal_(-math.inf)
    return functional.cross_entropy(likeness, torch.arange(len(seen), device=seen.device) ^ 1)


def main() -> None:
    parser = training.arguments(__doc__.splitlines()[0], steps=3000, batch=128, lr=1e-3)
    args = parser.parse_args()
    where = training.device()
    torch.manual_seed(args.seed)
    tokens = tokenizer(folder_of(CODE_POINTS, args.artwork) / "data-by-emoji.json")
    if args.start is None:
        scorer = Scorer(untrained(mobilenet(), tokens), tokens, TEXTS).to(where)
    else:
        scorer = Scorer.load(args.start).to(where).train()
    scorer.clip.vision_model.to(memory_format=torch.channels_last)
    run = training.Run(
        scorer, training.adamw(scorer, args.lr, weight_decay=0.05), args.work / "scorer.pt",
        steps=args.steps, minutes=args.minutes,
    )  # fmt: skip
    world = World(args.artwork / "icons.npz")

    def plain() -> float:
        """Large things on one colour first: so a design is learned before it is looked for."""
        done = 1.0 if args.start is not None else run.done
        return float(np.interp(done, (0.15, 0.4), (0.9, 0.1)))

    share = torch.tensor(plain()).share_memory_()
    drawn = training.Drawn(Views(world, args.batch), args.seed + run.step, share)
    source = iter(drawn.loaded(training.workers(where)))
    right: dict[str, Tensor] = {}

    def report() -> str:
        return "  ".join(f"{name} {hits:.2f}" for name, hits in right.items())

    for _ in run.steps_left(report):
        share.fill_(plain())
        pictures, truth = next(source)
        x = disturbed(pictures.to(where), 0.5 * (1 - share.item()))
        with training.half(where):
            seen = scorer.see(x)
            logits = scorer.logits(seen)
        loss = same_design(seen)
        for name, scores in logits.items():
            answer = truth[name].to(where)
            loss = loss + functional.cross_entropy(scores.float(), answer)
            hits = (scores.argmax(-1) == answer).float().sum() / (answer >= 0).sum().clamp(min=1)
            right[name] = 0.95 * right.get(name, hits) + 0.05 * hits
        run.update(loss)

    trained = run.averaged()
    folder = args.work / "scorer"
    trained.save(folder)
    print(f"the scorer is in {folder}")


if __name__ == "__main__":
    main()
