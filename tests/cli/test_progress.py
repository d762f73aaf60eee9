"""The bars of a long command."""

from __future__ import annotations

from typing import Any

import pytest
import rich.progress

from prism_cli.cli import progress
from prism_cli.services.events import StageBegan, StageEnded, StageMoved


def test_a_stage_that_comes_again_has_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ablation has hundreds, and a terminal shows the first rows of what is too long."""
    kept: list[Any] = []

    class Kept(rich.progress.Progress):
        def __init__(self, *columns: Any, **options: Any) -> None:
            super().__init__(*columns, **options)
            kept.append(self)

    monkeypatch.setattr(rich.progress, "Progress", Kept)

    with progress._bar() as tell:
        for _ in range(3):
            for stage in ("tokens", "lora"):
                tell(StageBegan(stage, 10))
                tell(StageMoved(stage, 5, {"rec": 0.5}))
                tell(StageEnded(stage, 10, "done"))
        tell(StageBegan("tokens", 10))

    (bars,) = kept
    assert [(bar.description, bar.completed) for bar in bars.tasks] == [("lora", 10), ("tokens", 0)]
