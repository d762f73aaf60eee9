"""What a concept may be called: the one validator, and the nearest name to a misspelt one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prism_cli.errors import InvalidName

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def is_name(text: str) -> bool:
    """Whether `text` can name a concept."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str) -> str:
    """Return `text`, or raise `InvalidName`: names become file names and stand between brackets."""
    if is_name(text):
        return text
    suggestion = as_name(text)
    raise InvalidName(
        f"{text!r} cannot name a concept: 1 to 63 of a-z, 0-9, '-' and '_', begun by a-z or 0-9",
        hint=f"for example {suggestion or 'mydog'}",
    )


def as_name(text: str) -> str:
    """`text` made into a name; empty where nothing in it can stand in one."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:63]


def nearest(text: str, names: Iterable[str]) -> str | None:
    """The name most like `text`, if one is like it at all."""
    import difflib  # 5 ms that only a misspelt name need wait for

    close = difflib.get_close_matches(text.lower(), list(names), n=1, cutoff=0.6)
    return close[0] if close else None
