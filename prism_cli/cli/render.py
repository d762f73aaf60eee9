"""What is printed: results on stdout, hints and errors on stderr. Events are `progress`'s."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prism_cli.errors import PrismError
from prism_cli.registry.store import Entry

if TYPE_CHECKING:
    from prism_cli.services.generate import DrawResult
    from prism_cli.services.rehearsal import Plan
    from prism_cli.services.train import TrainResult

JSON_FORMAT = 1  # of every object that --json prints; docs/reference.md


class Style(NamedTuple):
    """How the present command was asked to print."""

    json: bool = False
    quiet: bool = False


_style = Style()


def style() -> Style:
    """How the present command was asked to print."""
    return _style


def use(*, json: bool = False, quiet: bool = False) -> None:
    """Print in this style from here on."""
    global _style
    _style = Style(json, quiet)


def out() -> Console:
    """Return a console on the present stdout; made anew, since a test or a pipe may replace it."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """Return a console on the present stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def result(line: str) -> None:
    """Print one line of result as it is."""
    print(line)


def document(command: str, content: Mapping[str, Any]) -> None:
    """Print the JSON object that is the result of `command`."""
    print(json.dumps({"format": JSON_FORMAT, "command": command, **content}, default=str, indent=2))


def error(problem: PrismError) -> None:
    """Print a cause and what mends it, as JSON too where JSON was asked for."""
    if _style.json:
        content = {"cause": problem.message, "hint": problem.hint, "status": problem.exit_status}
        print(json.dumps({"format": JSON_FORMAT, "error": content}, indent=2))
    console = err()
    console.print(f"[bold red]error:[/] {escape(problem.message)}")
    if problem.hint:
        console.print(f"  [dim]{escape(problem.hint)}[/]")


def hint(line: str) -> None:
    """Print a sentence that is not a result, unless quiet."""
    if not _style.quiet:
        err().print(f"[dim]{escape(line)}[/]")


def done(line: str, next_command: str = "") -> None:
    """Print that something is finished and what may be typed next, unless quiet or JSON."""
    if _style.quiet or _style.json:
        return
    err().print(f"[bold green]done:[/] {escape(line)}")
    if next_command:
        err().print(f"  next: [bold]{escape(next_command)}[/]")


def confirmed(question: str, yes: bool) -> bool:
    """Whether to go on: asked on a terminal; elsewhere only `--yes` says so."""
    import typer

    from prism_cli.errors import OptionRefused

    if yes:
        return True
    if not sys.stdin.isatty():
        raise OptionRefused(
            "this cannot be undone and there is no terminal to ask on", hint="add --yes"
        )
    return typer.confirm(question, err=True)


def concepts(entries: Sequence[Entry]) -> None:
    """Print a line for each concept; one that cannot be used says why."""
    if _style.json:
        document("list", {"concepts": [entry_content(entry) for entry in entries]})
    elif _style.quiet:
        for entry in entries:
            result(entry.name)
    elif not entries:
        hint("no concepts yet: prism train PHOTOS --name NAME learns one")
    else:
        out().print(_table(entries))


def verified(names: Sequence[str], problems: Mapping[str, str]) -> None:
    """Print a line for each archive that was checked."""
    for name in names:
        if name in problems:
            out().print(f"[red]{escape(name)}: {escape(problems[name])}[/]")
        elif not _style.quiet:
            out().print(f"{name}: whole")
    if not names:
        hint("no concepts to verify")


def trained(learned: TrainResult) -> None:
    """Print the end of a training: where the archive is, what it cost, how it ended, what next."""
    if _style.json:
        content = {k: v for k, v in asdict(learned).items() if k != "preview"}
        document("train", content)
        return
    if _style.quiet:
        result(str(learned.path))
        return
    picture(learned.preview)
    stages = ", ".join(
        f"{stage} {o.steps} steps ({'came to rest' if o.ended == 'plateau' else 'cap'}, "
        f"loss {o.first:.3f} to {o.last:.3f})"
        for stage, o in learned.outcomes.items()
    )
    left_out = f", {learned.photos_left_out} left out" if learned.photos_left_out else ""
    facts(
        {
            "concept": f"[{learned.name}]",
            "archive": f"{learned.path} ({size(learned.size)})",
            "learned": f"from {learned.photos_used} photos{left_out}, on {learned.base}",
            "training": stages,
            "cost": f"{learned.seconds:.0f} s, {size(learned.peak_memory)} of memory at most",
        }
    )
    done(f"{learned.name} is learned", f'prism gen "A [{learned.name}] box" -n 4')


def plan(planned: Plan) -> None:
    """Print what a training would do and take."""
    if _style.json:
        document("train", {"plan": asdict(planned)})
        return
    facts(
        {
            "concept": f"[{planned.name}]",
            "archive": f"{planned.path} (about {size(planned.archive_size)})",
            "photos": f"{planned.photos_used} used, {planned.photos_left_out} left out",
            "base": f"{planned.base} at {planned.size} px, {planned.precision} on {planned.device}",
            "steps": ", ".join(f"{k} up to {v}" for k, v in planned.steps.items()),
            "time": f"about {planned.seconds:.0f} s at most, timed on this machine just now",
            "memory": f"about {size(planned.memory)}",
        }
    )
    hint("nothing was written; the same command without --dry-run does it")


def drawn(result_: DrawResult, show: bool) -> None:
    """Print where the pictures are, and show them if asked."""
    if _style.json:
        document("gen", asdict(result_))
        return
    for one in result_.pictures:
        result(str(one.path))
    if result_.sheet is not None and not _style.quiet:
        result(str(result_.sheet))
    if show:
        shown = result_.sheet or result_.pictures[0].path
        picture(shown.read_bytes())


def entry_content(entry: Entry) -> dict[str, Any]:
    """Return what --json says of a concept."""
    manifest = asdict(entry.manifest) if entry.manifest else None
    return {
        "name": entry.name,
        "path": str(entry.path),
        "size": entry.size,
        "problem": entry.problem,
        "manifest": manifest,
    }


def facts(pairs: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in pairs.items():
        table.add_row(f"[dim]{escape(name)}[/]", escape(value))
    out().print(table)


def picture(data: bytes, height: int = 12) -> None:
    """Show a PNG in the terminal, `height` lines tall; nothing when stdout is not a terminal."""
    if _style.json or _style.quiet or not sys.stdout.isatty():
        return
    import io

    from PIL import Image
    from textual_image.renderable import Image as TerminalImage

    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        out().print(TerminalImage(image.convert("RGB"), width="auto", height=height))


def size(count: float) -> str:
    """A number of bytes for people: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def _table(entries: Sequence[Entry]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("name", "kind", "base", "photos", "size", "created"):
        table.add_column(column, justify="right" if column in {"photos", "size"} else "left")
    for entry in entries:
        manifest = entry.manifest
        if manifest is None or entry.problem:
            table.add_row(f"[red]{entry.name}[/]", f"[red]{escape(entry.problem or '')}[/]")
            continue
        created = datetime.fromisoformat(manifest.created).astimezone()
        table.add_row(
            f"[bold]{entry.name}[/]",
            manifest.kind,
            escape(manifest.base.id),
            str(len(manifest.photos)),
            size(entry.size),
            f"{created:%Y-%m-%d %H:%M}",
        )
    return table
