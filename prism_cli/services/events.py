"""What a long command reports while it works. A bar, a line of JSON and a test's list are sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence the user should see: a choice that was made, or a warning."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class PhotoNote:
    """What was found about one photo, and what was done about it."""

    file: str
    treatment: str
    sentence: str
    used: bool


@dataclass(frozen=True, slots=True)
class StageBegan:
    """A stage of `total` steps begins, at `step` if it goes on from a checkpoint.

    unit: what is counted, where it is not steps.
    """

    stage: str
    total: int
    step: int = 0
    unit: Literal["step", "photo", "picture", "question", "MB"] = "step"


@dataclass(frozen=True, slots=True)
class StageMoved:
    """A step was done. losses: by name, of that step."""

    stage: str
    step: int
    losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageEnded:
    """A stage ended after `step` steps; how: "plateau", "cap" or "done"."""

    stage: str
    step: int
    how: str


def ended_so(how: str) -> str:
    """How a stage ended, in words: "plateau", "cap", or what another program wrote."""
    return {"plateau": "came to rest", "cap": "reached its cap"}.get(how, how)


Event = Note | PhotoNote | StageBegan | StageMoved | StageEnded
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The sink that keeps nothing."""
