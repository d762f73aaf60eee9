"""Captions of pictures of the practice base's world, by its scorer, in that world's words.

They are worded as the base's own captions are, and leave out every word that the scorer is not
sure of, so that what is said is true.
"""

from __future__ import annotations

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
# nouns 94 and 36 %, colours 92 and 67, patterns 95 and 90, sizes 99 and 99, grounds 100 and 100
# (`python -m benchmarks.captions --artwork FOLDER --thresholds`). A style is never said: at 0.99 a
# quarter of the drawings in an unknown hand would still get the name of one that it knows.
THRESHOLDS = {"noun": 0.95, "colour": 0.9, "pattern": 0.65, "size": 0.5, "ground": 0.5}
UNSAID = {"colour": PLAIN, "pattern": PLAIN, "size": "medium"}  # what goes without saying
_PLURALS = ("grapes", "cherries")


class WorldCaptioner:
    """Reads the square that is learned from. folder: of the scorer."""

    prompt = ""
    source = SOURCE

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scorer: Scorer | None = None

    def connect(self) -> None:
        """Load the scorer."""
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self._scorer = Scorer.load(self._folder)

    def describe(self, picture: Picture, earlier: str = "") -> str:
        """See `Captioner.describe`."""
        assert self._scorer is not None, "connect comes first"
        square = ImageOps.fit(picture.image, (SIDE, SIDE), Image.Resampling.LANCZOS)
        return worded(sure(self._scorer, np.array(square)[None])[0])

    def stop(self) -> None:
        """See `Captioner.stop`: nothing waits."""

    def close(self) -> None:
        """Let go of the scorer."""
        self._scorer = None


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


def worded(words: dict[str, str]) -> str:
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
