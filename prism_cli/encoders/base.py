"""What an evaluation asks of an encoder: unit embeddings, of pictures and perhaps of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from PIL import Image
from torch import Tensor

BATCH = 32  # pictures or texts that are embedded at once


class ImageEncoder(Protocol):
    """Sees pictures. name: as it stands beside every number it gives."""

    name: str

    def see(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Unit embeddings (n, d), fp32 on the CPU, of n RGB pictures."""
        ...


class TextImageEncoder(ImageEncoder, Protocol):
    """Sees pictures and reads texts, into one space."""

    def read(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings (n, d), fp32 on the CPU; a text that is too long loses its end."""
        ...


def parts(items: Sequence[object]) -> Iterator[slice]:
    """Slices of at most `BATCH` that cover `items`."""
    return (slice(k, k + BATCH) for k in range(0, len(items), BATCH))
