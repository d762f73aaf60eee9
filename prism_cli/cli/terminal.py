"""Whether a person sees what is printed, and can answer."""

from __future__ import annotations

from typing import TextIO


def is_terminal(stream: TextIO | None) -> bool:
    """Whether it is one; Python has None for a stream that was closed before it started."""
    return stream is not None and stream.isatty()
