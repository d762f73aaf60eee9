"""How true the practice base's captions, and the looks it reads, are in hands it never saw.

    python -m benchmarks.caption_thresholds --artwork artwork/icons.npz

Printed is what `prism_cli.captioners.world` takes its thresholds from, and how often five photos
that share a look, a thing or nothing have a look read in them. What captions do to a concept is in
the truth table: `prism` beside `prism, no captions`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
import transformers
from numpy.random import Generator

from mini.artwork import HELD_OUT
from mini.scorer import labels
from mini.vocabulary import COLOURS, PATTERNS
from mini.world import Picture, World, joined
from prism_cli.backbones import catalog
from prism_cli.captioners.world import PAIRED, THRESHOLDS, UNSAID, look, sure
from prism_cli.encoders.scorer import Scorer, half
from prism_cli.services.caption import SCORER

PICTURES = 2000
CONCEPTS, PHOTOS = 100, 5


def report(world: World, scorer: Scorer) -> None:
    """Print it for pictures of one thing and of pairs."""
    rng = np.random.default_rng(5)
    single, pairs = (described(world, rng, PICTURES, paired=paired) for paired in (False, True))
    one, two = (np.stack([world.draw(each, rng) for each in some]) for some in (single, pairs))
    left = [replace(each, beside=None) for each in pairs]
    right = [replace(each, thing=each.beside, beside=None) for each in pairs]
    true_words("one thing", scorer, one, single, THRESHOLDS)
    true_words("left of a pair", scorer, half(two, "left"), left, PAIRED)
    true_words("right of a pair", scorer, half(two, "right"), right, PAIRED)
    for what, pictures in (("one thing", one), ("a pair", two)):
        taken = fmean(len(seen.things) == 2 for seen in sure(scorer, pictures))
        print(f"{what}: {taken:.1%} are taken for a pair")
    rng = np.random.default_rng(5)  # whatever is drawn before
    for shared in ("a look", "a thing", "nothing"):
        read = Counter(look_read(world, scorer, rng, shared) for _ in range(CONCEPTS))
        shares = ", ".join(f"{how} {n / CONCEPTS:.0%}" for how, n in read.most_common())
        print(f"{PHOTOS} photos that share {shared}: a look is read {shares}")


def look_read(world: World, scorer: Scorer, rng: Generator, shared: str) -> str:
    """How the look of some photos is read: "rightly", "in part", "wrongly" or "never".

    Of a thing its own colour is right; where nothing is shared, any is wrong.
    """
    photos = described(world, rng, PHOTOS)
    things = [photo.thing for photo in photos if photo.thing]
    if shared == "a look":
        pattern = str(rng.choice(["", *PATTERNS])) or None
        colour = str(rng.choice(list(COLOURS)))
        things = [replace(thing, colour=colour, pattern=pattern) for thing in things]
    elif shared == "a thing":
        things = things[:1] * PHOTOS
    photos = [replace(photo, thing=thing) for photo, thing in zip(photos, things, strict=True)]
    read = look(sure(scorer, np.stack([world.draw(photo, rng) for photo in photos])))
    truth = "" if shared == "nothing" else joined(things[0].colour, things[0].pattern)
    if not read:
        return "never"
    if read == truth:
        return "rightly"
    return "in part" if {*read.split()} <= {*truth.split()} else "wrongly"


def described(
    world: World, rng: Generator, count: int, *, paired: bool | None = None
) -> list[Picture]:
    """Pictures of things in the hands never seen. paired: whether of two; None for either."""
    found = list[Picture]()
    while len(found) < count:
        picture = world.sample(rng, HELD_OUT)
        if picture.thing is not None and paired in (None, picture.beside is not None):
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
    """Read the artwork and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artwork", type=Path, required=True, help="icons.npz of mini.artwork")
    args = parser.parse_args()
    transformers.logging.disable_progress_bar()
    report(World(args.artwork), Scorer.load(catalog.resolve("mini").folder / SCORER))


if __name__ == "__main__":
    main()
