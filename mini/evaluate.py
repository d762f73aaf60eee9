"""What the embedded base can do: the tables of its model card, measured on pictures it never saw.

    python -m mini.evaluate --artwork artwork --photos PHOTOS --prompts 2000

prints Markdown and writes `contact-sheet.png`. The scorer is judged first, on real pictures: what
it cannot read there it may not judge in drawn ones. Beside it, a second opinion that was not
trained here: EfficientNet-Lite0's ImageNet features, asked which of the training's drawings on
white a drawn one is nearest to.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from mini import training
from mini.artwork import HELD_OUT
from mini.imagenet import centred, efficientnet
from mini.scorer import TEXTS, labels
from mini.train_autoencoder import psnr
from mini.vocabulary import STYLE_WORDS, STYLES
from mini.world import (
    SIDE,
    Ground,
    Picture,
    Thing,
    World,
    held_out_cell,
    plain_caption,
    some_ground,
)
from prism_cli.encoders.scorer import Scorer, half, pixels

GUIDANCE = 2.5  # nouns do not tell 2 and 3 apart; concepts are drawn best at 2
STEPS = 30
SEED = 7_000_000  # far from every training's


def row(*cells: object) -> None:
    """Print one line of a Markdown table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def heading(text: str, *columns: str) -> None:
    """Print a title and a table's head."""
    print(f"\n### {text}\n")
    row(*columns)
    row(*["---"] * len(columns))


def percent(hits: Tensor) -> str:
    """The share of hits with half the width of its 95 % interval (normal approximation).

    "" where nothing had a right answer.
    """
    if not len(hits):
        return ""
    share, n = hits.float().mean().item(), len(hits)
    return f"{100 * share:.1f} ± {196 * (share * (1 - share) / n) ** 0.5:.1f} %"


def things(world: World, rng: np.random.Generator, n: int, sets: tuple[str, ...]) -> list[Picture]:
    """`n` pictures of one thing each."""
    found: list[Picture] = []
    while len(found) < n:
        picture = world.sample(rng, sets)
        if picture.thing is not None and picture.beside is None:
            found.append(picture)
    return found


# -- the autoencoder ------------------------------------------------------------------------------


def squares(folder: Path) -> np.ndarray:
    """The photographs under `folder`, centre-cropped and brought to 64 px: (n, 64, 64, 3)."""
    pictures = []
    for path in sorted(folder.rglob("*.jpg")):
        picture = Image.open(path).convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.crop((left, top, left + side, top + side))
        pictures.append(np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
    return np.stack(pictures)


def judge_autoencoder(vae: AutoencoderTiny, world: World, photos: Path | None) -> None:
    """PSNR at 64 px."""
    heading("Autoencoder", "pictures", "n", "PSNR, mean", "lowest tenth")
    rng = np.random.default_rng(SEED)

    def drawn(sets: tuple[str, ...]) -> np.ndarray:
        return np.stack([world.draw(world.sample(rng, sets), rng) for _ in range(1000)])

    sources: dict[str, np.ndarray] = {
        "compositions it has not seen": drawn(STYLES),
        **{f"held-out set {name}": drawn((name,)) for name in HELD_OUT},
    }
    if photos is not None:
        sources["photographs"] = squares(photos)
    for name, pictures in sources.items():
        found = torch.cat(
            [
                psnr(vae, 2 * pixels(part) - 1)
                for part in np.array_split(pictures, 1 + len(pictures) // 250)
            ]
        )
        row(name, len(pictures), f"{found.mean():.2f} dB", f"{found.quantile(0.1):.2f} dB")


# -- the scorer -----------------------------------------------------------------------------------


def hits(scorer: Scorer, pictures: np.ndarray, described: list[Picture]) -> dict[str, Tensor]:
    """For each attribute, which of the pictures that have a right answer got it."""
    logits, _ = scorer.read(pictures)
    truth = [labels(picture) for picture in described]
    found = {}
    for name, scores in logits.items():
        answer = torch.tensor([right[name] for right in truth])
        found[name] = (scores.argmax(-1) == answer)[answer >= 0]
    return found


def judge_scorer(scorer: Scorer, world: World, n: int = 4000) -> None:
    """Its reading of real pictures."""
    rng = np.random.default_rng(SEED + 1)
    heading("Scorer on real pictures it has not seen", "pictures", *TEXTS)
    for name, sets in (("trained cells", STYLES), *((each, (each,)) for each in HELD_OUT)):
        described = things(world, rng, n if sets == STYLES else n // 4, sets)
        pictures = np.stack([world.draw(each, rng) for each in described])
        found = hits(scorer, pictures, described)
        row(name, *(percent(found[each]) for each in TEXTS))
    described = [
        Picture(thing=Thing(noun=noun, set=style), ground=some_ground(rng))
        for style in STYLES for noun in world.words[style] if held_out_cell(noun, style)
        for _ in range(20)
    ]  # fmt: skip
    pictures = np.stack([world.draw(each, rng) for each in described])
    found = hits(scorer, pictures, described)
    row("held-out cells", *(percent(found[each]) for each in TEXTS))

    heading(
        "Scorer: same design? (AUC; other ground, size and place)",
        "set",
        "against the same noun in another design",
        "against any other design",
    )
    for name in (*HELD_OUT, "all held out"):
        row(name, *(f"{auc:.3f}" for auc in same_design(scorer, world, name, rng)))

    heading("Scorer: which style is which (rows: truth, on any ground)", "", *TEXTS["style"])
    for style in STYLES:
        described = [replace(each, thing=replace(each.thing, pattern=None, colour=None))
                     for each in things(world, rng, 500, (style,)) if each.thing]  # fmt: skip
        logits, _ = scorer.read(np.stack([world.draw(each, rng) for each in described]))
        counts = logits["style"].argmax(-1).bincount(minlength=len(STYLES)).tolist()
        row(STYLE_WORDS[style][0], *(f"{count / 5:.0f} %" for count in counts))


def same_design(
    scorer: Scorer, world: World, name: str, rng: np.random.Generator
) -> tuple[float, float]:
    """The AUC of design likeness: a pair of one design against pairs of two."""
    sets = HELD_OUT if name == "all held out" else (name,)
    keys = [(each, word) for each in sets for word in world.words[each]]
    views = []
    for _ in range(2):
        drawn = [
            world.draw(
                Picture(
                    thing=Thing(noun=word, set=each), ground=some_ground(rng),
                    size=str(rng.choice(("medium", "large"))),
                ),
                rng,
            )
            for each, word in keys
        ]  # fmt: skip
        views.append(scorer.read(np.stack(drawn))[1])
    likeness = views[0] @ views[1].T
    same = likeness.diagonal()
    other = ~torch.eye(len(keys), dtype=torch.bool)
    word = np.array([word for _, word in keys])
    rival = other & torch.from_numpy(word[:, None] == word[None])
    if name == "all held out":
        return auc(same, likeness[rival]), auc(same, likeness[other])
    rivals = []  # within one set a noun has one design: its rivals are the base's sets
    for style in STYLES:
        there = [k for k, each in enumerate(word) if each in world.words[style]]
        others = [Thing(noun=word[k], set=style) for k in there]
        drawn = [world.draw(Picture(thing=each, ground=some_ground(rng)), rng) for each in others]
        rivals.append((views[0][there] * scorer.read(np.stack(drawn))[1]).sum(-1))
    return auc(same, torch.cat(rivals)), auc(same, likeness[other])


def auc(positive: Tensor, negative: Tensor) -> float:
    """The chance that a positive is above a negative."""
    ranks = torch.cat([positive, negative]).argsort().argsort().double() + 1
    n, m = len(positive), len(negative)
    return ((ranks[:n].sum() - n * (n + 1) / 2) / (n * m)).item()


# -- the base -------------------------------------------------------------------------------------

Draw = Callable[[list[str], int], np.ndarray]


def drawer(folder: Path, guidance: float, steps: int) -> Draw:
    """Draws prompts with the pipeline in `folder`; the second argument seeds the whole batch."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    ).to(training.device())
    pipeline.set_progress_bar_config(disable=True)

    def draw(prompts: list[str], seed: int) -> np.ndarray:
        with torch.no_grad(), training.half(training.device()):
            found = pipeline(
                prompts, num_inference_steps=steps, guidance_scale=guidance, height=SIDE,
                width=SIDE, generator=torch.Generator().manual_seed(seed), output_type="np",
            ).images  # fmt: skip
        return (np.asarray(found) * 255 + 0.5).astype(np.uint8)

    return draw


def judge_base(draw: Draw, scorer: Scorer, world: World, n: int, guidance: float) -> None:
    """Prompts of trained cells, read back by the scorer."""
    rng = np.random.default_rng(SEED + 2)
    described = [
        each for each in (world.sample(rng) for _ in range(2 * n)) if each.thing is not None
    ][:n]
    single = [each for each in described if each.beside is None]
    pairs = [each for each in described if each.beside is not None]
    how = f"{n:,} prompts, {STEPS} steps, guidance {guidance:g}"
    heading(f"Base, {how}, read by the scorer", "prompts", *TEXTS)
    pictures = drawn_in_batches(draw, single)
    for name, counts in (
        ("all of one thing", lambda thing: True),
        ("... in its own colours", plain),
        ("... tinted", lambda thing: thing.colour and not thing.pattern),
        ("... patterned", lambda thing: thing.pattern),
    ):
        chosen = [k for k, each in enumerate(single) if counts(each.thing)]
        found = hits(scorer, pictures[chosen], [single[k] for k in chosen])
        row(f"{name} ({len(chosen)})", *(percent(found[each]) for each in TEXTS))
    heading("Base: pairs", "", "noun on the left", "noun on the right", "both")
    pictures = drawn_in_batches(draw, pairs)
    left = [replace(each, beside=None) for each in pairs]
    right = [replace(each, thing=each.beside, beside=None) for each in pairs]
    named = [
        hits(scorer, half(pictures, side), told)["noun"]
        for side, told in (("left", left), ("right", right))
    ]
    row(f"{len(pairs)} prompts", *map(percent, (*named, named[0] & named[1])))


def plain(thing: Thing | None) -> bool:
    """Whether the thing is in its own colours."""
    return thing is not None and thing.colour is None and thing.pattern is None


def drawn_in_batches(draw: Draw, described: list[Picture], batch: int = 32) -> np.ndarray:
    """One picture for each description: (n, 64, 64, 3)."""
    return np.concatenate(
        [
            draw([plain_caption(each) for each in described[start : start + batch]], SEED + start)
            for start in range(0, len(described), batch)
        ]
    )


def judge_memory(draw: Draw, scorer: Scorer, world: World) -> None:
    """Every cell on white: the nearest of the real drawings, and whether it was asked for."""
    cells = [Thing(noun=noun, set=style) for style in STYLES for noun in world.words[style]]
    rng = np.random.default_rng(SEED + 3)
    on_white = [Picture(thing=each, ground=Ground()) for each in cells]
    real = np.stack([world.draw(each, rng) for each in on_white])
    drawn = drawn_in_batches(draw, on_white)
    nouns = np.array([each.noun for each in cells])
    kept = torch.tensor([held_out_cell(each.noun, each.set) for each in cells])
    heading(
        f"Memory: {len(cells)} cells on white, and the nearest of the {len(cells)} real drawings",
        "judge", "cells", "same noun", "and style", "likeness to it", "floor: other nouns",
    )  # fmt: skip
    net = efficientnet()

    def second_opinion(pictures: np.ndarray) -> torch.Tensor:
        features = net(pictures)
        return centred(features, features.mean(0))

    for judge, embed in (
        ("scorer", lambda x: scorer.read(x)[1]),
        ("EfficientNet-Lite0", second_opinion),
    ):
        likeness = embed(drawn) @ embed(real).T
        nearest = likeness.argmax(-1)
        same_noun = torch.from_numpy(nouns[nearest.numpy()] == nouns)
        same_cell = nearest == torch.arange(len(cells))
        floor = likeness[torch.from_numpy(nouns[:, None] != nouns[None])].mean()
        for which, chosen in (("trained", ~kept), ("held out", kept)):
            row(
                judge,
                f"{which} ({int(chosen.sum())})",
                percent(same_noun[chosen]),
                percent(same_cell[chosen]),
                f"{likeness.diagonal()[chosen].mean():.3f}",
                f"{floor:.3f}",
            )


def judge_speed(draw: Draw) -> None:
    """Seconds a picture, in batches of four."""
    draw(["a cat"] * 4, 0)
    seconds = []
    for seed in range(5):
        began = time.perf_counter()
        draw(["a cat in the desert"] * 4, seed)
        seconds.append((time.perf_counter() - began) / 4)
    heading("Speed", "", "median", "range of 5")
    threads = torch.get_num_threads()
    row(
        f"one picture, {STEPS} steps with guidance, in a batch of 4, {threads} threads",
        f"{sorted(seconds)[2]:.2f} s",
        f"{min(seconds):.2f}-{max(seconds):.2f} s",
    )


def sheet(draw: Draw, world: World, path: Path) -> Iterator[str]:
    """64 prompts drawn, as one picture; yields the prompts, row by row."""
    rng = np.random.default_rng(SEED + 4)
    described = [each for each in (world.sample(rng) for _ in range(200)) if each.thing][:64]
    pictures = np.repeat(np.repeat(drawn_in_batches(draw, described), 2, 1), 2, 2)
    rows = pictures.reshape(8, 8, 2 * SIDE, 2 * SIDE, 3).transpose(0, 2, 1, 3, 4)
    Image.fromarray(rows.reshape(16 * SIDE, 16 * SIDE, 3)).save(path)
    for start in range(0, 64, 8):
        yield "; ".join(plain_caption(each) for each in described[start : start + 8])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artwork", type=Path, default=Path("artwork"))
    parser.add_argument("--pipeline", type=Path, default=Path("prism_cli/bases/mini"))
    parser.add_argument("--photos", type=Path, help="photographs nobody trained on")
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--sheet", type=Path, default=Path("contact-sheet.png"))
    parser.add_argument(
        "--only", nargs="*", default=["autoencoder", "scorer", "base", "memory", "speed"]
    )
    args = parser.parse_args()
    world = World(args.artwork / "icons.npz")
    scorer = Scorer.load(args.pipeline / "scorer")
    if "autoencoder" in args.only:
        vae = AutoencoderTiny.from_pretrained(args.pipeline / "vae", dtype=torch.float32)
        judge_autoencoder(vae, world, args.photos)
    if "scorer" in args.only:
        judge_scorer(scorer, world)
    draw = drawer(args.pipeline, args.guidance, STEPS)
    if "base" in args.only:
        judge_base(draw, scorer, world, args.prompts, args.guidance)
        print("\nContact sheet, row by row:\n")
        for line in sheet(draw, world, args.sheet):
            print(f"1. {line}")
    if "memory" in args.only:
        judge_memory(draw, scorer, world)
    if "speed" in args.only:
        judge_speed(draw)


if __name__ == "__main__":
    main()
