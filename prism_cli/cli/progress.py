"""Sinks for events, on stderr: a bar on a terminal, lines in a log, JSON, or warnings only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from prism_cli.cli import render
from prism_cli.services.events import (
    Event,
    Note,
    OnEvent,
    PhotoNote,
    StageBegan,
    StageEnded,
    StageMoved,
)


@contextmanager
def progress() -> Iterator[OnEvent]:
    """Give a sink for events: a bar on a terminal, plain lines in a log, JSON lines, or nothing."""
    style = render.style()
    if style.json:
        yield _json_line
    elif style.quiet:
        yield _warnings_only
    elif sys.stderr.isatty():
        with _bar() as sink:
            yield sink
    else:
        yield _Log()


def _json_line(event: Event) -> None:
    print(json.dumps({"event": type(event).__name__, **asdict(event)}), file=sys.stderr, flush=True)


def _warnings_only(event: Event) -> None:
    if isinstance(event, Note) and event.level == "warning":
        render.err().print(f"[yellow]note:[/] {escape(event.text)}")
    if isinstance(event, PhotoNote) and not event.used:
        render.err().print(f"[yellow]{escape(event.file)}:[/] {escape(event.sentence)}")


def _say(console: Console, event: Event) -> None:
    match event:
        case Note(text, "warning"):
            console.print(f"[yellow]note:[/] {escape(text)}")
        case Note(text):
            console.print(f"[dim]{escape(text)}[/]")
        case PhotoNote(file, treatment, sentence, used) if treatment != "used":
            colour = "dim" if used else "yellow"
            console.print(f"[{colour}]{escape(file)}: {escape(sentence)}[/]")
        case StageEnded(stage, step, how) if how != "done":
            why = "came to rest" if how == "plateau" else "reached its cap"
            console.print(f"[dim]{stage}: {why} after {step} steps[/]")
        case _:
            pass


class _Log:
    """Ten lines a stage: what a log can bear."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self, event: Event) -> None:
        console = render.err()
        match event:
            case StageBegan(stage, total, step):
                self.total = total
                console.print(f"{stage}: {total} steps" + (f", from step {step}" if step else ""))
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
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=render.err()) as bars:
        task: dict[str, Any] = {}

        def sink(event: Event) -> None:
            match event:
                case StageBegan(stage, total, step):
                    task[stage] = bars.add_task(stage, total=total, completed=step, losses="")
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
