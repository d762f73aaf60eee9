"""Pictures in the terminal: its own graphics where it has some, else half blocks."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import TYPE_CHECKING

from prism_cli.cli.terminal import is_terminal

if TYPE_CHECKING:
    from rich.console import Console


def can_show() -> bool:
    """Whether there is a terminal on both ends, to ask and to draw on, and it has a size."""
    if not (is_terminal(sys.stdout) and is_terminal(sys.stdin)):
        return False
    columns, lines = os.get_terminal_size(sys.stdout.fileno())
    return columns > 0 and lines > 0


def show(console: Console, data: bytes, height: int) -> None:
    """Print the PNG in `data`, `height` lines tall."""
    from PIL import Image

    # It reports a terminal that does not tell its cell size, and assumes one: nobody need know.
    logging.getLogger("textual_image").addHandler(logging.NullHandler())
    from textual_image.renderable import Image as TerminalImage

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            shown = image.convert("RGB")
    except Exception:  # a decoder raises whatever damaged data leads it to
        console.print("(the preview is damaged)")
        return
    console.print(TerminalImage(shown, width="auto", height=height))
