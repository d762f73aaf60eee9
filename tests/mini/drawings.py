"""A world whose icons are plain shapes: the real ones are fetched, and no test fetches."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from mini.artwork import CANVAS, SETS
from mini.vocabulary import NOUNS


def shape(seed: int) -> np.ndarray:
    """An ellipse of some form, (CANVAS, CANVAS, 4) uint8: dark below, light above."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:CANVAS, :CANVAS] - CANVAS / 2) / (CANVAS / 2)
    inside = (x / rng.uniform(0.4, 0.95)) ** 2 + (y / rng.uniform(0.4, 0.95)) ** 2 < 1
    drawing = np.zeros((CANVAS, CANVAS, 4), dtype=np.uint8)
    drawing[inside, 3] = 255
    drawing[..., :3] = ((1 - y) / 2 * 255)[..., None] * rng.uniform(0.7, 1, 3)
    return drawing


@cache
def icons(folder: Path, nouns: int = 8) -> Path:
    """An `icons.npz` of the first `nouns` nouns in every set."""
    words = [noun.word for noun in NOUNS[:nouns]]
    arrays: dict[str, np.ndarray] = {}
    for number, each in enumerate(SETS):
        arrays[each.name] = np.stack([shape(100 * number + index) for index in range(nouns)])
        arrays[f"{each.name}:words"] = np.array(words)
    path = folder / "icons.npz"
    np.savez(path, **arrays)
    return path
