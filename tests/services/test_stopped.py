"""Ctrl-C while a concept is composed, inspected or moved: nothing is kept, nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prism_cli.backbones import catalog
from prism_cli.services.compose import ComposeRequest, compose
from prism_cli.services.events import Event, OnEvent, StageMoved
from prism_cli.services.inspect import InspectRequest, inspect
from prism_cli.services.transfer import TransferRequest, transfer
from tests.bases import fresh_mini
from tests.services.concepts import keep

OUT = Path("out")
COMMANDS: dict[str, Callable[[OnEvent], Any]] = {
    "compose": lambda on_event: compose(
        ComposeRequest(names=("dog", "cat"), name="both", force=True), on_event
    ),
    "inspect": lambda on_event: inspect(
        InspectRequest(name="dog", steps=2, out=OUT, force=True), on_event
    ),
    "transfer": lambda on_event: transfer(
        TransferRequest(
            name="dog", nouns=("box",), count=1, steps=2, out=OUT, keep="moved", force=True
        ),
        on_event,
    ),
}


def files() -> dict[Path, bytes]:
    """Every archive and picture that there is, and whatever else was left."""
    places = (Path(os.environ["PRISM_HOME"]) / "concepts", OUT)
    return {p: p.read_bytes() for place in places for p in place.rglob("*") if p.is_file()}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("moment", [1, 3])
def test_a_stopped_command_leaves_things_as_they_were(
    command: str, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the same command does its work over what an earlier one had made."""
    loaded: list[object] = []

    def load(entry: object, run: object) -> object:
        loaded.append(entry)
        return fresh_mini()

    monkeypatch.setattr(catalog, "load", load)
    for seed, name in enumerate(("dog", "cat", "both", "moved"), start=1):
        keep(name, seed, lora=True)
    OUT.mkdir()
    (OUT / "dog-inspect-0.png").write_bytes(b"an earlier one")
    before, moves = files(), 0

    def stop(event: Event) -> None:
        nonlocal moves
        moves += isinstance(event, StageMoved)
        if moves == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        COMMANDS[command](stop)

    assert loaded and files() == before
    COMMANDS[command](lambda event: None)
    assert files() != before
