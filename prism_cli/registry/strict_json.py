"""JSON from strangers: bounded in size and depth, no duplicate keys, no numbers outside JSON."""

from __future__ import annotations

import json
import math
import re

MAX_DEPTH = 16  # a manifest nests four deep, a safetensors header three
_MAX_INTEGER = 2**64  # seeds and sizes fit below it

# Possessive, and content with no closing quote: no input makes the search start over.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def parse(data: bytes, max_bytes: int) -> object:
    """Read the value that `data` spells in UTF-8 JSON; `ValueError` says what is wrong."""
    if len(data) > max_bytes:
        raise ValueError(f"its JSON is {len(data)} bytes, and {max_bytes} is the most allowed")
    _check_depth(data)
    try:
        text = data.decode("utf-8")
        value: object = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_bounded,
            parse_float=_finite,
            parse_constant=_finite,
        )
        if "\\u" in text:  # half a character can be escaped, and then not written again
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise ValueError("its text is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at character {error.pos}") from None
    return value


def _check_depth(data: bytes) -> None:
    """Count brackets outside strings before the parser, which recurses, sees them."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"its JSON is more than {MAX_DEPTH} levels deep")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("its JSON has the same key twice")
    return values


def _bounded(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else _MAX_INTEGER
    if abs(value) >= _MAX_INTEGER:
        raise ValueError(f"its JSON has a whole number of {len(digits)} digits")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("its JSON has a number that is not finite")
    return value
