"""Captions of pictures of the practice base's world, by its scorer, in that world's words.

They are worded as the base's own captions are, and leave out every word that the scorer is not
sure of, so that what is said is true; and what most of the photos share, which is the concept's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps

from prism_cli.captioners.base import Picture
from prism_cli.encoders.scorer import PLAIN, SIDE, Scorer

SOURCE = "mini"
# Least probability at which a word is said. On 2000 pictures of one thing in the three hands that
# the scorer never saw, this share of what is said is true, and this share of what is there is said:
# nouns 94 and 51 %, colours 92 and 92, patterns 98 and 98, sizes 99 and 99, grounds 100 and 100
# (`python -m benchmarks.captions --artwork FOLDER --thresholds`). A style is never said: at 0.99 a
# fifth of the drawings in an unknown hand would still get the name of one that it knows.
THRESHOLDS = {"noun": 0.95, "colour": 0.99, "pattern": 0.65, "size": 0.5, "ground": 0.5}
UNSAID = {"colour": PLAIN, "pattern": PLAIN, "size": "medium"}  # what goes without saying
_PLURALS = ("grapes", "cherries")


class WorldCaptioner:
    """Reads the squares that are learned from, all at once, and says what they do not share.

    folder: of the scorer. pictures: all that it will be asked about.
    """

    prompt = ""
    source = SOURCE

    def __init__(self, folder: Path, pictures: Sequence[Picture]) -> None:
        self._folder, self._pictures = folder, pictures
        self._said: dict[Path, str] = {}

    def connect(self) -> None:
        """Read the pictures with the scorer."""
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        squares = np.stack([_square(picture.image) for picture in self._pictures])
        read = unshared(sure(Scorer.load(self._folder), squares))
        paths = [picture.path for picture in self._pictures]
        self._said = {path: worded(words) for path, words in zip(paths, read, strict=True)}

    def describe(self, picture: Picture, earlier: str = "") -> str:
        """See `Captioner.describe`."""
        return self._said[picture.path]

    def stop(self) -> None:
        """See `Captioner.stop`: nothing waits."""

    def close(self) -> None:
        """See `Captioner.close`: nothing is held."""


def sure(scorer: Scorer, pictures: np.ndarray) -> list[dict[str, str]]:
    """Of each picture (n, SIDE, SIDE, 3) uint8, the words that the scorer is sure of."""
    found: list[dict[str, str]] = [{} for _ in pictures]
    logits, _ = scorer.read(pictures)
    for attribute, least in THRESHOLDS.items():
        words = list(scorer.texts[attribute])
        chance, best = torch.softmax(logits[attribute], dim=-1).max(dim=-1)
        for k, (p, index) in enumerate(zip(chance.tolist(), best.tolist(), strict=True)):
            if p >= least and words[index] != UNSAID.get(attribute):
                found[k][attribute] = words[index]
    return found


def unshared(found: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Each picture's words without those of the thing that half of the pictures or more share.

    They are the concept, and a residual that starts with them keeps it from the target
    (docs/method.md has the figures). The ground is what a residual is for, and stays.
    """
    counts = Counter(item for words in found for item in words.items())
    common = max(2, len(found) / 2)
    return [
        {
            attribute: word
            for attribute, word in words.items()
            if attribute == "ground" or counts[attribute, word] < common
        }
        for words in found
    ]


def worded(words: Mapping[str, str]) -> str:
    """The words as the base's captions have them: "a small golden owl on the beach".

    Without a noun there is nothing that could be golden, and the place is named alone.
    """
    ground = words.get("ground", "")
    if "noun" not in words:
        return ground.removeprefix("on ")
    looks = [words[name] for name in ("size", "colour", "pattern", "noun") if name in words]
    return f"{_article(' '.join(looks))} {ground}".strip()


def _article(phrase: str) -> str:
    if phrase.endswith(_PLURALS):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' and not phrase.startswith('uni') else 'a'} {phrase}"


def _square(image: Image.Image) -> np.ndarray:
    return np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS))
