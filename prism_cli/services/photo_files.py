"""From a file to an upright RGB picture in sRGB, or the reason why it is none."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError, features

from prism_cli.errors import storage
from prism_cli.services.early import check_folder
from prism_cli.services.events import OnEvent, StageBegan, StageEnded, StageMoved, ignore

READABLE = "JPEG, PNG, WEBP, HEIC or AVIF"
READ_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp"),
    *(".heic", ".heif", ".hif", ".avif"),
)
UNREAD_SUFFIXES = (
    *(".gif", ".bmp", ".tif", ".tiff", ".psd", ".svg", ".ico", ".jp2", ".jxl"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),
)
MOST_PIXELS = 100_000_000  # about 300 MB decoded; the largest phone cameras make 50 to 108 MP
STAGE = "photos"
_FEW = 10  # photos; one of 24 megapixels takes a quarter to half a second
LEAST_SIDE = 16  # px; below this nothing can be recognised whatever the base


class Treatment(StrEnum):
    """What became of a file."""

    USED = "used"
    ENLARGED = "enlarged"
    CROPPED_MUCH = "cropped much"
    BROKEN = "broken"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too large"
    TOO_SMALL = "too small"
    DUPLICATE = "duplicate"
    SIMILAR = "similar"
    HELD_OUT = "held out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One file's treatment, with a sentence of what was seen and what was done."""

    file: str
    treatment: Treatment
    sentence: str
    used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A picture as it is used.

    image: RGB, upright, shrunk. width, height: px, upright, unshrunk. sha256: of the file.
    remark: what else should be said of it, or "".
    """

    image: Image.Image
    width: int
    height: int
    sha256: str
    remark: str


def picture_files(folder: Path) -> list[Path]:
    """List what in `folder` itself is named like a picture, in natural order (2.jpg, 10.jpg).

    Sub-folders, hidden files and other files (captions) are passed over.
    Raises FileMissing, PhotosRefused (a file instead of a folder) or StorageFailed.
    """
    check_folder(folder)
    with storage("read", folder):
        pictures = [
            entry
            for entry in folder.iterdir()
            if entry.suffix.lower() in READ_SUFFIXES + UNREAD_SUFFIXES
            and not entry.name.startswith(".")
            and not entry.is_dir()
        ]
    return sorted(pictures, key=_natural)


def read_picture(path: Path, size: int, least: int | None = None) -> Decoded | Finding:
    """Decode `path` for a base of `size` px, or say why it is left out.

    least: px that the short side must have; None for what such a base can learn from.
    """
    if least is None:
        least = max(size // 4, LEAST_SIDE)  # enlarged more than four times, a picture is only blur
    try:
        if not path.is_file():
            return left_out(path, Treatment.BROKEN, "not a file, or a link that leads to none")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            upright = _upright(path, file, least)
    except OSError as error:
        return left_out(path, Treatment.BROKEN, f"it cannot be read ({error.strerror or error})")
    return upright if isinstance(upright, Finding) else _plain(upright, digest, size)


def _upright(path: Path, file: BinaryIO, least: int) -> Image.Image | Finding:
    """Decode the whole picture and turn it as its EXIF says."""
    # Findings say better what Pillow's warnings would (a large picture, odd metadata).
    with warnings.catch_warnings(action="ignore"):
        try:
            image = Image.open(file, formats=_formats())
            if refusal := _refusal(path, image.size, least):
                return refusal
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
        except UnidentifiedImageError:
            return _unidentified(path)
        except Image.DecompressionBombError:
            return _too_large(path)
        except MemoryError:
            raise
        except OSError as error:
            return left_out(path, Treatment.BROKEN, f"broken ({error})")
        except Exception:  # decoders raise whatever damaged data leads them to
            return left_out(path, Treatment.BROKEN, "broken (its data makes no sense)")
    return image


def read_pictures(
    files: Sequence[Path], size: int, on_event: OnEvent, least: int | None = None
) -> Iterator[tuple[Path, Decoded | Finding]]:
    """`read_picture` of each; of many it is told how far it is, as a large one takes a while."""
    tell = on_event if len(files) > _FEW else ignore
    tell(StageBegan(STAGE, len(files), unit="photo"))
    for count, path in enumerate(files, start=1):
        yield path, read_picture(path, size, least)
        tell(StageMoved(STAGE, count))
    tell(StageEnded(STAGE, len(files), "done"))


def left_out(path: Path, treatment: Treatment, seen: str) -> Finding:
    """Make the finding on a file that is not used."""
    return Finding(file=path.name, treatment=treatment, sentence=f"{seen}: left out", used=False)


@cache
def _formats() -> tuple[str, ...]:
    """Name the only decoders that are let near a file."""
    pillow_heif.register_heif_opener()
    avif = ("AVIF",) if features.check("avif") else ()
    return ("JPEG", "PNG", "WEBP", "HEIF", *avif)  # JPEG also opens the MPO that phones write


def _natural(path: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", path.name.casefold())  # every second one is a number
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], path.name


def _unidentified(path: Path) -> Finding:
    if path.stat().st_size == 0:
        return left_out(path, Treatment.BROKEN, "an empty file")
    if path.suffix.lower() in UNREAD_SUFFIXES:
        kind = path.suffix[1:].upper()
        seen = f"{kind} is not read, save it as {READABLE}"
        return left_out(path, Treatment.UNSUPPORTED, seen)
    return left_out(path, Treatment.BROKEN, f"broken, or not {READABLE}")


def _too_large(path: Path) -> Finding:
    return left_out(path, Treatment.TOO_LARGE, f"more than {MOST_PIXELS // 10**6} megapixels")


def _refusal(path: Path, shape: tuple[int, int], least: int) -> Finding | None:
    """Say what the header alone rules out, before decoding. shape: (width, height), px."""
    width, height = shape
    if width * height > MOST_PIXELS:
        return _too_large(path)
    if min(shape) < least:
        seen = f"{width}x{height} px, the short side must have {least}"
        return left_out(path, Treatment.TOO_SMALL, seen)
    return None


def _plain(image: Image.Image, digest: str, size: int) -> Decoded:
    """Shrink the picture and bring it into RGB; the profile is applied last, to fewer pixels."""
    profile = image.info.get("icc_profile")
    small = _shrunk(_on_white(image), 2 * size)
    rgb, remark = _srgb(small, profile) if profile else (small.convert("RGB"), "")
    rgb.info.clear()  # where and when a photo was taken ends here
    return Decoded(image=rgb, width=image.width, height=image.height, sha256=digest, remark=remark)


def _on_white(image: Image.Image) -> Image.Image:
    """Lay the picture on white, as L, RGB or CMYK: the modes that profiles describe."""
    if image.mode.startswith("I"):  # 16 bits a pixel; the upper eight are kept
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _shrunk(image: Image.Image, short: int) -> Image.Image:
    """Copy the picture, its short side at most `short` px (twice the base's serves every crop).

    reducing_gap 1.0 costs a quarter of plain LANCZOS on 12 MP and differs from it by 55 dB PSNR.
    """
    scale = min(1.0, short / min(image.size))
    shape = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(shape, Image.Resampling.LANCZOS, reducing_gap=1.0)


def _srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    """Bring the picture into sRGB; the remark says where its profile is of no use."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image.convert("RGB"), ""
        space = source.profile.xcolor_space.strip()
        image = image.convert({"GRAY": "L"}.get(space, space))
        target = ImageCms.createProfile("sRGB")
        managed = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB"), "its colour profile cannot be read: taken as sRGB"
    return managed or image.convert("RGB"), ""
