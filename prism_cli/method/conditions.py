"""The prompts of the method: c^(i), the residual alone, and the null prompt."""

from __future__ import annotations

from prism_cli.backbones.base import Prompt, Slot

JOINING_WORD = "with"  # Algorithm 1, line 7: "t_target with t_residual^(i)"

NULL: Prompt = ("",)
"""The empty prompt, written as a crossed-out zero in the paper."""


def target_slot(concept: str) -> Slot:
    """The place of t_target in a prompt."""
    return Slot(concept)


def residual_slot(concept: str, i: int) -> Slot:
    """The place of t_residual^(i) in a prompt."""
    return Slot(concept, f"residual.{i}")


def with_residual(concept: str, i: int) -> Prompt:
    """c^(i) = "t_target with t_residual^(i)" (Algorithm 1, line 7; Algorithm 2, line 7)."""
    return (target_slot(concept), f" {JOINING_WORD} ", residual_slot(concept, i))


def residual_only(concept: str, i: int) -> Prompt:
    """t_residual^(i) by itself (Algorithm 1, line 13)."""
    return (residual_slot(concept, i),)
