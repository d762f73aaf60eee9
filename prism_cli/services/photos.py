"""Photo intake: which files of a folder are learned from, how they are cropped, what is said."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prism_cli.errors import PhotosRefused
from prism_cli.services.events import OnEvent, ignore
from prism_cli.services.photo_files import (
    READABLE,
    Decoded,
    Finding,
    Treatment,
    left_out,
    picture_files,
    read_pictures,
)
from prism_cli.services.photo_likeness import Look, alike, look_at

__all__ = ["Finding", "Intake", "Photo", "Treatment", "take_in", "views"]

PANORAMA = 2.5  # long side over short: beyond it a square crop keeps less than two fifths
LEAST_SCALE = 0.8  # of the short side: the smallest random crop
NAMED = 3  # findings that an error message names


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo that is learned from.

    sha256: of the file's bytes. image: RGB, upright, in sRGB, on white, its short side at most
    twice the base's resolution; no metadata.
    """

    path: Path
    sha256: str
    image: Image.Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """The photos of a folder in natural order, and one finding for each picture file in it."""

    photos: tuple[Photo, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What later files are compared with."""

    name: str
    pixels: bytes
    look: Look


def take_in(
    folder: Path,
    *,
    size: int,
    keep_similar: bool = False,
    hold_out: int = 0,
    minimum: int = 2,
    on_event: OnEvent = ignore,
) -> Intake:
    """Read the photos directly in `folder` for a base of `size` px, all but the last `hold_out`.

    Raises FileMissing (no such folder), PhotosRefused (a file, no pictures, fewer than `minimum`
    usable) or StorageFailed (a folder that cannot be read).
    """
    files = picture_files(folder)
    if not files:
        raise PhotosRefused(f"no pictures in {folder}", hint=f"put {READABLE} files there")
    photos: list[Photo] = []
    findings: list[Finding] = []
    kept: list[_Kept] = []
    for path, picture in read_pictures(files, size, on_event):
        if isinstance(picture, Finding):
            findings.append(picture)
            continue
        candidate = _Kept(
            name=path.name, pixels=_fingerprint(picture.image), look=look_at(picture.image)
        )
        finding = _compared(candidate, kept, keep_similar) or _fitted(path.name, picture, size)
        findings.append(finding)
        if finding.used:
            kept.append(candidate)
            photos.append(Photo(path=path, sha256=picture.sha256, image=picture.image))
    kept_back = {photo.path.name for photo in photos[max(0, len(photos) - hold_out) :]}
    photos = [photo for photo in photos if photo.path.name not in kept_back]
    findings = [_held_out(each) if each.file in kept_back else each for each in findings]
    if len(photos) < minimum:
        raise _too_few(folder, len(photos), minimum, findings)
    return Intake(photos=tuple(photos), findings=tuple(findings))


def views(
    image: Image.Image,
    size: int,
    crop: Literal["center", "random"],
    count: int,
    rng: np.random.Generator | random.Random,
) -> list[NDArray[np.uint8]]:
    """Square views of an RGB image, each (size, size, 3), levels 0-255.

    "center": the one largest square in the middle, whatever `count`. "random": `count` squares of
    0.8 to 1 times the short side, anywhere in the image; the same `rng` state gives the same ones.
    """
    short = min(image.size)
    if crop == "center":
        return [_square(image, short, 0.5, 0.5, size)]
    return [
        _square(
            image, short * rng.uniform(LEAST_SCALE, 1.0), rng.uniform(0, 1), rng.uniform(0, 1), size
        )
        for _ in range(count)
    ]


def _square(
    image: Image.Image, side: float, across: float, down: float, size: int
) -> NDArray[np.uint8]:
    """Cut the square of `side` px, `across` and `down` (0-1) of the way: (size, size, 3)."""
    left, top = (image.width - side) * across, (image.height - side) * down
    box = (left, top, left + side, top + side)
    shape = (size, size)
    return np.array(image.resize(shape, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0))


def _fingerprint(image: Image.Image) -> bytes:
    """Digest what is learned from: equal where the decoded, upright, shrunk pictures are."""
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).digest()


def _compared(candidate: _Kept, kept: Sequence[_Kept], keep_similar: bool) -> Finding | None:
    """Find a picture that is there already, exactly or nearly; the first one stays."""
    path = Path(candidate.name)
    for other in kept:
        if candidate.pixels == other.pixels:
            return left_out(path, Treatment.DUPLICATE, f"the same picture as {other.name}")
    if not (twin := next((k for k in kept if alike(candidate.look, k.look)), None)):
        return None
    if not keep_similar:
        return left_out(
            path,
            Treatment.SIMILAR,
            f"nearly the same picture as {twin.name} (--keep-similar uses it)",
        )
    return Finding(
        file=candidate.name,
        treatment=Treatment.SIMILAR,
        sentence=f"nearly the same picture as {twin.name}: used all the same (--keep-similar)",
        used=True,
    )


def _fitted(name: str, picture: Decoded, size: int) -> Finding:
    """Say how a picture that is used fits the base's square of `size` px."""
    short, long = sorted((picture.width, picture.height))
    treatment = Treatment.USED
    said = [f"{picture.width}x{picture.height} px"]
    if short < size:
        treatment = Treatment.ENLARGED
        said.append(f"enlarged to {size} px")
    if long / short > PANORAMA:
        treatment = Treatment.CROPPED_MUCH
        said.append(
            f"the centre crop keeps {short / long:.0%} of it (--crop random sees all of it)"
        )
    if picture.remark:
        said.append(picture.remark)
    return Finding(file=name, treatment=treatment, sentence=f"{', '.join(said)}: used", used=True)


def _held_out(finding: Finding) -> Finding:
    """What becomes of a photo that would have been used."""
    return Finding(
        file=finding.file,
        treatment=Treatment.HELD_OUT,
        sentence=f"{finding.file}: not learned from, to be compared with (--hold-out)",
        used=False,
    )


def _too_few(folder: Path, usable: int, minimum: int, findings: Sequence[Finding]) -> PhotosRefused:
    unused = [finding for finding in findings if not finding.used]
    named = [f"{finding.file}: {finding.treatment}" for finding in unused[:NAMED]]
    if len(unused) > NAMED:
        named.append(f"and {len(unused) - NAMED} more")
    counts = (
        f"{usable} usable photo{'' if usable == 1 else 's'} in {folder} "
        f"({len(findings)} looked at): at least {minimum} {'is' if minimum == 1 else 'are'} needed"
    )
    hint = f"add {READABLE} photos of the same thing to {folder}"
    if any(finding.treatment is Treatment.SIMILAR for finding in unused):
        hint += ", or use the similar ones too with --keep-similar"
    if any(finding.treatment is Treatment.HELD_OUT for finding in unused):
        hint += ", or hold fewer out with --hold-out"
    return PhotosRefused("; ".join([counts, *named]), hint=hint)
