"""What a captioner is: a photo in, the words that start its residual tokens out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Caption:
    """text: one line. source: the captioner that wrote it."""

    text: str
    source: str


class Captioner(Protocol):
    """Describes photos."""

    def caption(self, photo: Path) -> Caption:
        """Describe one photo. Raises CaptionRefused when its caption cannot be read."""
        ...
