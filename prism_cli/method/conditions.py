"""The prompts of the method: c^(i), the residual alone, and the null prompt."""

from __future__ import annotations

import re

from prism_cli.backbones.base import Prompt, Slot

TEMPLATE = "* with {}"  # Algorithm 1, line 7: "t_target with t_residual^(i)"

NULL: Prompt = ("",)
"""The empty prompt, written as a crossed-out zero in the paper."""


def target_slot(concept: str) -> Slot:
    """The place of t_target in a prompt."""
    return Slot(concept)


def residual_slot(concept: str, i: int) -> Slot:
    """The place of t_residual^(i) in a prompt."""
    return Slot(concept, f"residual.{i}")


def with_concept(template: str, concept: str) -> Prompt:
    """`template` with the target where its * is."""
    before, _, after = template.partition("*")
    return tuple(piece for piece in (before, target_slot(concept), after) if piece)


def with_residual(concept: str, i: int, template: str = TEMPLATE) -> Prompt:
    """c^(i) = "t_target with t_residual^(i)" (Algorithm 1, line 7; Algorithm 2, line 7).

    template: how the target, *, stands with a residual, {}; each is in it once.
    """
    slots = {"*": target_slot(concept), "{}": residual_slot(concept, i)}
    return tuple(slots.get(piece, piece) for piece in _pieces(template))


def is_template(text: str) -> bool:
    """Whether a text has both places, each once."""
    return text.count("*") == text.count("{}") == 1


def joining_words(template: str) -> tuple[str, ...]:
    """What of a template is neither target nor residual."""
    return tuple(piece.strip() for piece in _pieces(template) if piece not in ("*", "{}"))


def residual_only(concept: str, i: int) -> Prompt:
    """t_residual^(i) by itself (Algorithm 1, line 13)."""
    return (residual_slot(concept, i),)


def _pieces(template: str) -> list[str]:
    return [piece for piece in re.split(r"(\*|\{\})", template) if piece]
