"""What is printed: results on stdout, hints and errors on stderr. Events are `progress`'s."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from prism_cli.cli import terminal_picture
from prism_cli.cli.terminal import is_terminal
from prism_cli.errors import Interrupted, OptionRefused, PrismError
from prism_cli.services.events import ended_so
from prism_cli.services.first_prompt import first_prompt

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from prism_cli.services.caption_folder import CaptionResult
    from prism_cli.services.generate import DrawResult
    from prism_cli.services.rehearsal import DrawingPlan, Fit, Plan
    from prism_cli.services.train import TrainResult

JSON_FORMAT = 1  # of every object that --json prints; docs/reference.md
_UNWRAPPED = 1 << 16  # columns: a pipe has no width, and what reads it wants whole lines
# A file name or a stranger's caption must not steer the terminal, nor turn round what follows it.
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ONE_LINE = {
    **{c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160))},
    **{c: f"\\u{c:04x}" for c in _DIRECTIONS},
}
_LINES = {c: spelt for c, spelt in _ONE_LINE.items() if c != ord("\n")}


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
    return _console(width=None if is_terminal(sys.stdout) else _UNWRAPPED)


def err() -> Console:
    """Return a console on the present stderr."""
    return _console(stderr=True)


def _console(**where: Any) -> Console:
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR"))  # no bold or dim either
    return Console(highlight=False, soft_wrap=True, color_system=None if plain else "auto", **where)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Text that is printed as it is, its parts in a style each; no bracket in it is markup.

    Of control characters only line breaks work.
    """
    from rich.text import Text

    texts = (part if isinstance(part, tuple) else (part, "") for part in parts)
    return Text.assemble(*((text.translate(_LINES), look) for text, look in texts))


def printable(text: str) -> str:
    """`text` on one line, its control characters spelt out."""
    return text.translate(_ONE_LINE)


def result(line: str) -> None:
    """Print one line of result as it is."""
    print(line)


def document(command: str, content: Mapping[str, Any]) -> None:
    """Print the JSON object that is the result of `command`."""
    print(json.dumps({"format": JSON_FORMAT, "command": command, **content}, default=str, indent=2))


def event(kind: str, content: Mapping[str, Any]) -> None:
    """Print one line of JSON on stderr, at once."""
    print(json.dumps({"event": kind, **content}), file=sys.stderr, flush=True)


def error(problem: PrismError) -> None:
    """Print a cause and what mends it: sentences, or JSON on both streams where that was asked."""
    if _style.json:
        content = {"cause": problem.message, "hint": problem.hint, "status": problem.exit_status}
        with suppress(OSError):  # stdout may be what is wrong; stderr says it too
            print(json.dumps({"format": JSON_FORMAT, "error": content}, indent=2), flush=True)
        event("Error", content)
        return
    err().print(styled(("error:", "bold red"), f" {printable(problem.message)}"))
    if problem.hint:
        err().print(styled((f"  {printable(problem.hint)}", "dim")))


def hint(line: str) -> None:
    """Print a sentence that is not a result, unless quiet or JSON."""
    if not (_style.quiet or _style.json):
        err().print(styled((line, "dim")))


def done(line: str, next_command: str = "") -> None:
    """Print that something is finished and what may be typed next, unless quiet or JSON."""
    if _style.quiet or _style.json:
        return
    err().print(styled(("done:", "bold green"), f" {line}"))
    if next_command:
        err().print(styled("  next: ", (next_command, "bold")))


def confirmed(question: str, yes: bool) -> bool:
    """Whether to go on: asked on a terminal; elsewhere only `--yes` says so."""
    if yes:
        return True
    if not is_terminal(sys.stdin):
        raise OptionRefused(
            "this cannot be undone, and there is no terminal to ask on",
            hint="run it again with --yes",
        )
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        err().print()
        raise Interrupted("stopped at the question; nothing was changed") from None


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
    stages = [
        f"{stage} {ended_so(o.ended)} after {o.steps} steps, loss {o.first:.3f} to {o.last:.3f}"
        for stage, o in learned.outcomes.items()
    ]
    facts(
        {
            "concept": f"[{learned.name}]",
            "archive": f"{learned.path} ({size(learned.size)})",
            "base": learned.base,
            "photos": f"{learned.photos_used} used, {learned.photos_left_out} left out",
            "training": "\n".join(stages),
            "cost": f"{learned.seconds:.0f} s, {size(learned.peak_memory)} of memory at most"
            + _against(learned.planned_memory),
        }
    )
    prompt = first_prompt(learned.name, learned.kind, learned.base)
    done(f"{learned.name} is learned", f'prism gen "{prompt}" -n 4')


def plan(planned: Plan) -> None:
    """Print what a training would do and take; only where it would be kept when quiet."""
    if _style.json:
        document("train", {"plan": asdict(planned)})
        return
    if _style.quiet:
        result(str(planned.path))
        return
    facts(
        {
            "concept": f"[{planned.name}]",
            "archive": f"{planned.path} (at most {size(planned.archive_size)})",
            "photos": f"{planned.photos_used} used, {planned.photos_left_out} left out",
            "steps": ", ".join(f"{k} up to {v}" for k, v in planned.steps.items()),
            **fit_facts(planned.fit),
        }
    )
    hint("nothing was written; the same command without --dry-run does it")


def drawing_plan(planned: DrawingPlan) -> None:
    """Print what would be drawn, and what it would take; only the files when quiet."""
    if _style.json:
        document("gen", {"plan": asdict(planned)})
        return
    if _style.quiet:
        for path in planned.paths:
            result(str(path))
        return
    facts(
        {
            "pictures": "\n".join(str(path) for path in planned.paths),
            "steps": f"{planned.steps} at guidance {planned.guidance:g}",
            **fit_facts(planned.fit),
        }
    )
    hint("nothing was written; the same command without --dry-run does it")


def fit_facts(fit: Fit) -> dict[str, str]:
    """How a base is fitted to the machine, phase by phase, and why."""
    width, height = fit.size
    phases = ", ".join(f"{name} {size(count)}" for name, count in fit.phases.items())
    if fit.timed:
        time = f"about {duration(fit.seconds)}, timed on this machine just now"
    else:
        time = f"at least {duration(fit.seconds)}: the arithmetic, at this machine's best speed"
    where = "RAM" if fit.device == "cpu" else f"{fit.device} memory"
    return {
        "base": f"{fit.base} at {width}x{height} px, {fit.precision} on {fit.device}",
        "choices": "\n".join(fit.decided) or "all at once: it fits",
        where: f"about {size(fit.memory)} at most ({phases})",
        **({"RAM": f"about {size(fit.ram)}"} if fit.ram else {}),
        "disk": f"{size(fit.disk)} for the base, {_to_download(fit)}",
        "time": time,
    }


def _to_download(fit: Fit) -> str:
    if fit.download:
        return f"of which {size(fit.download)} are to be downloaded first"
    return "which is here; nothing to download"


def _against(planned: int | None) -> str:
    return "" if planned is None else f" (planned: {size(planned)})"


def drawn(result_: DrawResult, show: bool) -> None:
    """Print where the pictures are, and show them if asked."""
    if _style.json:
        document("gen", asdict(result_))
        return
    for one in result_.pictures:
        result(str(one.path))
    if result_.sheet is not None and not _style.quiet:
        result(str(result_.sheet))
    if result_.planned_memory is not None:
        hint(f"{size(result_.peak_memory)} of memory at most{_against(result_.planned_memory)}")
    if show:
        shown = result_.sheet or result_.pictures[0].path
        picture(shown.read_bytes())


def captioned(result_: CaptionResult) -> None:
    """Print a line for each photo, tabs between its parts; then what went wrong with the others."""
    if _style.json:
        lines = [asdict(line) for line in result_.captions]
        failed = [
            {"file": each.file, "cause": each.error.message, "hint": each.error.hint}
            for each in result_.problems
        ]
        document("caption", {"captions": lines, "problems": failed})
        return
    for line in result_.captions:
        source = () if _style.quiet else (line.source,)
        result("\t".join(map(printable, (line.file, line.caption, *source))))
    for each in result_.problems:
        error(type(each.error)(f"{each.file}: {each.error.message}", each.error.hint))
    written = sum(line.written is not None for line in result_.captions)
    if written:
        done(f"{written} caption{'s' if written > 1 else ''} written, to be edited as you like")


def facts(pairs: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(styled((name, "dim")), styled(value))
    out().print(table)


def shows_pictures() -> bool:
    """Whether `picture` would show one: on a terminal, and neither quiet nor JSON."""
    return not (_style.json or _style.quiet) and terminal_picture.can_show()


def picture(data: bytes, height: int = 12) -> None:
    """Show a PNG in the terminal, `height` lines tall; nothing where it cannot be shown."""
    if shows_pictures():
        terminal_picture.show(out(), data, height)


def size(count: float) -> str:
    """A number of bytes for people: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """A time for people: 40 s, 12 min, 1.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
