"""Between tensors, pictures and files: the one place where the value range changes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor


def to_tensor(pictures: Sequence[np.ndarray]) -> Tensor:
    """Map B uint8 arrays (H, W, 3) to (B, 3, H, W) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return stacked.float() / 127.5 - 1


def to_pictures(images: Tensor) -> list[Image.Image]:
    """Map (B, 3, H, W) in [-1, 1] to RGB pictures."""
    levels = ((images.cpu() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return [Image.fromarray(picture.numpy()) for picture in levels]


def from_png(data: bytes) -> Image.Image:
    """The picture of a PNG file."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        return picture.convert("RGB")


def png(picture: Image.Image, chunks: PngImagePlugin.PngInfo | None = None) -> bytes:
    """`picture` as a PNG file, with `chunks` of text in it."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()
