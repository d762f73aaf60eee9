"""What every learner is given: so many updates, or so many seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Updates of a whole training, or seconds of it; the other one is None."""

    steps: int | None = None
    seconds: float | None = None

    def part(self, share: float) -> Budget:
        """The budget of a stage that takes `share` of it."""
        return Budget(
            None if self.steps is None else round(self.steps * share),
            None if self.seconds is None else self.seconds * share,
        )

    def clock(self) -> Clock:
        """A clock that starts now."""
        return Clock(self, time.monotonic())


@dataclass(slots=True)
class Clock:
    """Counts the updates of a stage and looks at the time."""

    budget: Budget
    began: float
    steps: int = 0

    def goes_on(self) -> bool:
        """Whether another update is in the budget; asked once before each."""
        if self.budget.seconds is not None:
            left = time.monotonic() - self.began < self.budget.seconds
        else:
            left = self.steps < (self.budget.steps or 0)
        self.steps += left
        return left
