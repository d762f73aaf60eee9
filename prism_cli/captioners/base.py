"""What a captioner is: a picture in, the words that start its residual tokens out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Caption:
    """text: one line. source: who wrote it, and with which model."""

    text: str
    source: str


PLAIN = Caption("a photo", "none")
"""What a photo without a caption starts from: nothing is known about it but that it is one."""


class Picture(Protocol):
    """A photo as captioners see it. image: RGB, upright, without metadata. sha256: of its file."""

    @property
    def path(self) -> Path: ...
    @property
    def sha256(self) -> str: ...
    @property
    def image(self) -> Image: ...


class Captioner(Protocol):
    """Describes pictures.

    source: its name and model, which with `prompt` decides what it answers. shared: the look that
    the pictures share and that is said of no thing in them, once it has connected; "" for none.
    """

    @property
    def source(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def shared(self) -> str: ...

    def connect(self) -> None:
        """Get ready to be asked; once, and not from several threads. Raises a PrismError."""
        ...

    def describe(self, picture: Picture, earlier: str = "") -> str:
        """One line about the picture; "" where nothing can be said for sure.

        earlier: an answer of the wrong length, to be improved on. Raises a PrismError.
        """
        ...

    def stop(self) -> None:
        """End what waits to ask again, in other threads."""
        ...

    def close(self) -> None:
        """Let go of what `connect` took."""
        ...
