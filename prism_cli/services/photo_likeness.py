"""Whether two pictures are copies of one: resized, recompressed, trimmed or brightened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The numbers below were measured on photographs of four subjects (five each) and on drawn icons,
# each against its own copies and against the others of its set; docs/photos.md has the table.
HASH_BITS = 8  # of 64: copies of photographs differ by 0-8, different photographs by 10 and more
GAIN = (0.8, 1.25)  # a change of brightness that counts as an edit of the same photograph
DRAWN = 0.38  # share of even neighbours: photographs 0.01-0.36, drawn pictures 0.4 and more
EVEN_LEVELS = 2  # of 255: what compression alone does to a flat area


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far two copies may be apart, in levels of 0-255 between their thumbnails."""

    mean: float
    worst: float  # in any one cell


PHOTOGRAPH = Limits(mean=9.0, worst=65.0)  # copies: to 8.9 and 63; different: from 11.0 and 84
DRAWING = Limits(mean=4.5, worst=30.0)  # copies: to 3.1 and 21; another background: mean from 7.9;
# another mouth on the same face: worst from 43

CELLS = 16  # a thumbnail is CELLS x CELLS
WORKING = 256  # px, long side of the picture the crops are taken from
TRIMS = (0.95, 0.9)  # a trimmed copy keeps about this share of each side


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is compared of one picture: the whole of it (row 0) and its c - 1 trimmed versions.

    hashes: (c, 64) bits of the perceptual hash. thumbnails: (c, 16, 16, 3) levels of 0-255.
    """

    hashes: NDArray[np.bool_]
    thumbnails: NDArray[np.float32]

    @property
    def drawn(self) -> bool:
        """Whether large parts are one flat colour, as in icons and diagrams."""
        whole = self.thumbnails[0]
        steps = [np.abs(np.diff(whole, axis=axis)).max(axis=-1).ravel() for axis in (0, 1)]
        return bool(np.mean(np.concatenate(steps) <= EVEN_LEVELS) >= DRAWN)


def look_at(image: Image.Image) -> Look:
    """Take the `Look` of an RGB image."""
    working = image.copy()
    working.thumbnail((WORKING, WORKING), Image.Resampling.LANCZOS)
    crops = [
        working.resize((4 * CELLS, 4 * CELLS), Image.Resampling.LANCZOS, box=box)
        for box in _boxes(*working.size)
    ]
    return Look(
        hashes=np.stack([imagehash.phash(crop).hash.ravel() for crop in crops]),
        thumbnails=np.stack([np.asarray(crop.reduce(4), np.float32) for crop in crops]),
    )


def alike(one: Look, other: Look) -> bool:
    """Whether the two pictures are copies of one another, whichever of them was trimmed."""
    return _is_part_of(one, other) or _is_part_of(other, one)


def _is_part_of(trimmed: Look, original: Look) -> bool:
    """Whether the whole of `trimmed` is one of the crops of `original`.

    The hash alone cannot tell: it sees shapes in grey, so an icon on another flat background has
    the same one; hence the colours. Their mean alone cannot tell either: a drawn face with another
    mouth differs in one cell; hence the worst cell. In a drawn picture rounding decides most bits
    of the hash, and the flat level *is* the content (a white or a grey background), so there the
    colours are judged alone, strictly, and no brightness is forgiven.
    """
    whole, crops = trimmed.thumbnails[0], original.thumbnails
    if trimmed.drawn or original.drawn:
        return bool(_within(DRAWING, np.abs(whole - crops)).any())
    gain = (whole * crops).sum(axis=(1, 2, 3)) / np.maximum(np.square(crops).sum(axis=(1, 2, 3)), 1)
    gain = np.clip(gain, *GAIN)[:, None, None, None]
    bits = np.count_nonzero(trimmed.hashes[0] != original.hashes, axis=1)
    near = _within(PHOTOGRAPH, np.abs(whole - gain * crops))
    return bool((near & (bits <= HASH_BITS)).any())


def _within(limits: Limits, difference: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which crops' thumbnails, (c, 16, 16, 3) apart, are as near as copies are. Returns (c,)."""
    cells = difference.mean(axis=3)
    mean, worst = cells.mean(axis=(1, 2)), cells.max(axis=(1, 2))
    fits: NDArray[np.bool_] = (mean <= limits.mean) & (worst <= limits.worst)
    return fits


def _boxes(width: int, height: int) -> Iterator[tuple[float, float, float, float]]:
    """Yield the whole picture, then for each trim the nine places to cut the rest from."""
    yield (0, 0, width, height)
    for kept in TRIMS:
        for down in (0, 0.5, 1):
            for along in (0, 0.5, 1):
                left, top = (1 - kept) * width * along, (1 - kept) * height * down
                yield (left, top, left + kept * width, top + kept * height)
