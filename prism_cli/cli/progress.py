"""Sinks for events, on stderr: a bar on a terminal, lines in a log, JSON, or warnings only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console

from prism_cli.cli import render
from prism_cli.cli.terminal import is_terminal
from prism_cli.services.events import (
    Event,
    Note,
    OnEvent,
    PhotoNote,
    StageBegan,
    StageEnded,
    StageMoved,
    ended_so,
)


@contextmanager
def progress() -> Iterator[OnEvent]:
    """Give a sink for events: a bar on a terminal, plain lines in a log, JSON lines, or nothing."""
    style = render.style()
    if style.json:
        yield _json_line
    elif style.quiet:
        yield _warnings_only
    elif is_terminal(sys.stderr):
        with _bar() as sink:
            yield sink
    else:
        yield _Log()


def _json_line(event: Event) -> None:
    render.event(type(event).__name__, asdict(event))


def _warnings_only(event: Event) -> None:
    if isinstance(event, Note) and event.level == "warning":
        _say(render.err(), event)
    if isinstance(event, PhotoNote) and not event.used:
        _say(render.err(), event)


def _say(console: Console, event: Event) -> None:
    match event:
        case Note(text, "warning"):
            console.print(render.styled(("note:", "yellow"), f" {text}"))
        case Note(text):
            console.print(render.styled((text, "dim")))
        case PhotoNote(file, treatment, sentence, used) if treatment != "used":
            colour = "dim" if used else "yellow"
            console.print(render.styled((f"{file}: {sentence}", colour)))
        case StageEnded(stage, step, how) if how != "done":
            console.print(render.styled((f"{stage}: {ended_so(how)} after {step} steps", "dim")))
        case _:
            pass


class _Log:
    """Ten lines a stage: what a log can bear."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self, event: Event) -> None:
        console = render.err()
        match event:
            case StageBegan(stage, total, step, unit):
                self.total = total
                steps = f"{total} {unit}{'s' if unit != 'MB' and total != 1 else ''}"
                console.print(f"{stage}: {steps}" + (f", from step {step}" if step else ""))
            case StageMoved(stage, step, losses):
                if step % max(self.total // 10, 1) == 0:
                    console.print(f"{stage} {step}/{self.total}  {_losses(losses)}".rstrip())
            case _:
                _say(console, event)


@contextmanager
def _bar() -> Iterator[OnEvent]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=render.err()) as bars:
        task: dict[str, Any] = {}

        def sink(event: Event) -> None:
            match event:
                case StageBegan(stage, total, step, unit):
                    if stage in task:  # of another cell: a screen holds only so many bars
                        bars.remove_task(task[stage])
                    shown = "" if unit == "step" else unit
                    task[stage] = bars.add_task(
                        stage, total=total, completed=step, unit=shown, losses=""
                    )
                case StageMoved(stage, step, losses):
                    bars.update(task[stage], completed=step, losses=_losses(losses))
                case StageEnded(stage, step, _):
                    bars.update(task[stage], total=step, completed=step)
                    _say(bars.console, event)
                case _:
                    _say(bars.console, event)

        yield sink


def _losses(losses: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
