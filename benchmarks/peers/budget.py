"""What every learner is given: as many updates, or as many as the same seconds are good for.

Seconds are not raced against a clock, which other work would slow: what an update of each stage
costs is measured once, and every training has the updates that its seconds buy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prism_cli.settings import Recipe

LORA = "lora"


@dataclass(frozen=True, slots=True)
class Updates:
    """How many the words (or tokens) and the LoRA get."""

    words: int
    lora: int

    @property
    def total(self) -> int:
        """Of both stages."""
        return self.words + self.lora


@dataclass(frozen=True, slots=True)
class Stages:
    """What a learner trains. words: the name of its first stage's cost, None where it has none."""

    words: str | None
    lora: bool

    def share(self, recipe: Recipe, costs: Mapping[str, float] | None) -> Updates:
        """Its updates: in the recipe's proportion of both stages, at the cost of the whole recipe.

        costs: seconds an update, of each stage by name; None where every update counts the same.
        """
        proportion = Updates(
            recipe.tokens.steps if self.words else 0, recipe.finetuning.steps if self.lora else 0
        )
        if costs is None:
            whole = recipe.tokens.steps + recipe.finetuning.steps
            scale = whole / proportion.total
        else:
            seconds = recipe.tokens.steps * costs["tokens"] + recipe.finetuning.steps * costs[LORA]
            words = costs[self.words] if self.words else 0.0
            scale = seconds / (proportion.words * words + proportion.lora * costs[LORA])
        return Updates(round(scale * proportion.words), round(scale * proportion.lora))
