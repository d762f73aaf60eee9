"""What every learner is given: as many updates, or as many as the same seconds are good for.

Seconds are not raced against a clock, which other work would slow: what an update of each stage
costs is measured once, and every training has the updates that its seconds buy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from prism_cli.settings import Recipe

LORA, HELD = "lora", "lora, held"  # costs of a LoRA's update: its plain loss, and with L_keep
BUDGET = "budget"  # beside the costs: of every learner, in seconds


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
    """What a learner trains: the names of its stages' costs, None where it lacks one."""

    words: str | None
    lora: str | None

    def price(self, recipe: Recipe, costs: Mapping[str, float] | None) -> float:
        """Seconds of the recipe's updates.

        costs: seconds an update, of each stage by name; None where every update counts the same.
        """
        steps = {self.words: recipe.tokens.steps, self.lora: recipe.finetuning.steps}
        return sum(n * (costs[name] if costs else 1) for name, n in steps.items() if name)

    def share(self, recipe: Recipe, costs: Mapping[str, float] | None, *, budget: float) -> Updates:
        """The updates that a budget buys, in the recipe's proportion of both stages.

        budget: a `price`, at the same costs.
        """
        scale = budget / self.price(recipe, costs)
        return Updates(
            round(scale * recipe.tokens.steps) if self.words else 0,
            round(scale * recipe.finetuning.steps) if self.lora else 0,
        )


def unheld(recipe: Recipe) -> Recipe:
    """Without L_keep: half the rate, and a third more updates, each of which costs less.

    So did the practice base do best without it (docs/method.md, "The practice base").
    """
    options = recipe.finetuning
    if not options.preservation:
        return recipe
    plain = replace(
        options, preservation=0.0, lr=options.lr / 2, steps=round(options.steps * 4 / 3)
    )
    return replace(recipe, finetuning=plain)
