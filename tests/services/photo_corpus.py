"""Pictures for the intake tests, drawn in code: nothing binary is kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageDraw

ORIENTATION = 0x0112  # the EXIF tag
# What a camera held so stores, for each EXIF orientation: the inverse of what a viewer does.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
BACKGROUNDS = ("white", "lightyellow", "lightblue", "gray", "navy")


def scenery(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """Make a picture with a photograph's smooth variety; another seed is another scene."""
    coarse = np.random.default_rng(seed).integers(30, 200, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def icon(background: str) -> Image.Image:
    """Draw an orange star, 128x128 px, on a flat background."""
    image = Image.new("RGB", (128, 128), background)
    corners = [
        (64 + radius * math.sin(k * math.pi / 5), 64 - radius * math.cos(k * math.pi / 5))
        for k, radius in enumerate([45, 20] * 5)
    ]
    ImageDraw.Draw(image).polygon(corners, fill="orange")
    return image


def face(smiling: bool) -> Image.Image:
    """Draw a face, 128x128 px, whose mouth alone tells it from the other one."""
    image = Image.new("RGB", (128, 128), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 108, 108), fill="gold")
    if smiling:
        draw.arc((45, 55, 83, 90), 20, 160, fill="black", width=4)
    else:
        draw.arc((45, 75, 83, 110), 200, 340, fill="black", width=4)
    return image


def held(image: Image.Image, orientation: int) -> Image.Image:
    """Turn to the pixels that a camera stores when `orientation` is what it writes into EXIF."""
    return image.transpose(STORED[orientation]) if orientation in STORED else image


def tagged(orientation: int) -> Image.Exif:
    """Make EXIF data that says `orientation`."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def save_heic(image: Image.Image, path: Path, orientation: int = 1) -> None:
    """Write `image` as HEIC, turned as a phone does: in the container, and noted in EXIF too."""
    pillow_heif.register_heif_opener()
    held(image, orientation).save(path, "HEIF", quality=90, exif=tagged(orientation).tobytes())
