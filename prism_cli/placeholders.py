r"""Concepts in a prompt: ``A [mydog] box``, ``[mydog:0.7]``, ``[mydog:residual:3]``, not ``\[``.

``[dogwater]`` of a composition stands for its phrase, ``[dogwater:mydog]`` for one of its tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from prism_cli.errors import PromptRefused
from prism_cli.names import is_name

RESIDUAL = "residual"
MOST_WEIGHT = 10  # of a LoRA, and the least is as much below 0
_TOKEN = re.compile(r"\\([\[\]\\])|\[([^\[\]]*)\]|([\[\]])")


class MentionRefused(PromptRefused):
    """A pair of brackets that does not hold what a mention is. inside: what it holds."""

    def __init__(self, inside: str) -> None:
        super().__init__(
            f"[{inside}] in the prompt is not [name], [name:weight], [name:residual:photo] "
            "or [composition:name]",
            hint=r"write \[ and \] for literal brackets",
        )
        self.inside = inside


@dataclass(frozen=True, slots=True)
class Mention:
    """A concept named in a prompt. weight: of its LoRA, None where the prompt does not say.

    part: "target", "residual.<i>", or "target.<concept>" for one token of a composition.
    """

    name: str
    part: str = "target"
    weight: float | None = None


def parse(prompt: str) -> tuple[str | Mention, ...]:
    """Split `prompt` into words and mentions, in order.

    Raises PromptRefused for a bracket that does not close, MentionRefused for what is no mention.
    """
    check_text(prompt)
    pieces: list[str | Mention] = []
    position = 0
    for match in _TOKEN.finditer(prompt):
        _add(pieces, prompt[position : match.start()])
        position = match.end()
        literal, inside, stray = match.groups()
        if literal:
            _add(pieces, literal)
        elif stray:
            raise PromptRefused(
                f"a {stray!r} without its partner in the prompt, at character {match.start() + 1}",
                hint=rf"write \{stray} for a literal bracket",
            )
        else:
            pieces.append(_mention(inside))
    _add(pieces, prompt[position:])
    return tuple(pieces) or ("",)


def check_text(text: str) -> None:
    """Raise PromptRefused where there are bytes in it that are no UTF-8."""
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise PromptRefused(
            f"{text!r} is not text: it holds bytes that are not UTF-8", hint="type it again"
        )


def mentioned(pieces: Sequence[str | Mention]) -> list[str]:
    """The names of the concepts in `pieces`, each once, in order of appearance."""
    return list(dict.fromkeys(p.name for p in pieces if isinstance(p, Mention)))


def is_part(name: str) -> bool:
    """Whether ``[composition:name]`` would be read as a token of a composition."""
    return is_name(name) and name != RESIDUAL and _number(name) is None


def _add(pieces: list[str | Mention], text: str) -> None:
    if text and pieces and isinstance(pieces[-1], str):
        pieces[-1] += text
    elif text:
        pieces.append(text)


def _mention(inside: str) -> Mention:
    name, *rest = inside.strip().split(":")
    if is_name(name):
        match rest:
            case []:
                return Mention(name)
            case [part] if is_part(part):
                return Mention(name, f"target.{part}")
            case ["residual", number] if re.fullmatch(r"[0-9]{1,9}", number):
                return Mention(name, f"residual.{int(number)}")
            case [weight] if (value := _number(weight)) is not None:
                if abs(value) > MOST_WEIGHT:
                    raise PromptRefused(
                        f"[{inside}] in the prompt has a weight that is not between "
                        f"-{MOST_WEIGHT} and {MOST_WEIGHT}",
                        hint=f"for example [{name}:0.7]",
                    )
                return Mention(name, weight=value)
    raise MentionRefused(inside)


def _number(text: str) -> float | None:
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", text.strip()):
        return None
    value = float(text)
    return value if math.isfinite(value) else None
