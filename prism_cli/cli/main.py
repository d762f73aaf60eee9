"""The application, and the boundary where an error becomes a sentence and an exit status."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command_from_info, get_group_from_info

from prism_cli import __version__
from prism_cli.cli import render
from prism_cli.errors import Interrupted, OutOfMemory, PrismError, StorageFailed, out_of_memory

# Command -> the module that registers it, in the order of the help. A module is imported when its
# command is typed: `prism list` waits for nothing that only `prism train` needs.
COMMANDS = {
    "train": "train",
    "gen": "generate",
    "generate": "generate",
    "compose": "compose",
    "transfer": "transfer",
    "inspect": "inspect",
    "eval": "evaluate",
    "report": "evaluate",
    "ablate": "ablate",
    "caption": "caption",
    "list": "concepts",
    "show": "concepts",
    "rm": "concepts",
    "rename": "concepts",
    "export": "concepts",
    "import": "concepts",
    "verify": "concepts",
    "bases": "bases",
    "completion": "completion",
}


class PrismGroup(TyperGroup):
    """Finds commands in `COMMANDS`, and shows a `PrismError` as its message and hint.

    Whatever else is raised is a bug, and stays one.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command's name."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; a name that is unknown loads them all, for the nearest one."""
        wanted = [cmd_name] if cmd_name in COMMANDS else list(COMMANDS)
        for module in {COMMANDS[name] for name in wanted}:
            import_module(f"prism_cli.cli.{module}")
        for info in app.registered_commands:
            if info.name in wanted and info.name not in self.commands:
                self.commands[info.name] = get_command_from_info(
                    info, pretty_exceptions_short=False, rich_markup_mode="rich"
                )
        for group in app.registered_groups:
            if group.name in wanted and group.name not in self.commands:
                self.commands[group.name] = get_group_from_info(
                    group,
                    pretty_exceptions_short=False,
                    suggest_commands=True,
                    rich_markup_mode="rich",
                )
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            done = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()  # a disk that is full is told here, not as Python ends
            return done
        except KeyboardInterrupt:
            problem: PrismError = Interrupted("stopped before it was done")
        except Exception as error:
            told = _told(error)
            if told is None:
                raise
            problem = told
        render.error(problem)
        raise typer.Exit(problem.exit_status)


def _told(error: Exception) -> PrismError | None:
    """What is said of it; None of a bug, which keeps its traceback."""
    if isinstance(error, PrismError):
        return error
    if out_of_memory(error):
        # A plan is an estimate, and what else runs may take memory after it was made.
        return OutOfMemory(
            "there is not enough free memory left to go on",
            hint="end what else takes memory, of a GPU too, and run the same command again, or"
            " choose a smaller --base",
        )
    if not isinstance(error, OSError):
        return None
    if error.filename is None and error.errno == errno.ENOSPC:
        _give_up_stdout()
    elif error.filename is None:
        return None
    # Any question about a path can be refused: a name too long, a folder that is closed.
    return StorageFailed(
        f"cannot use {error.filename or 'the output'}: {(error.strerror or 'refused').lower()}",
        hint="give another path",
    )


def _give_up_stdout() -> None:
    """Else Python writes what is left of it once more as it ends, and fails with a traceback."""
    with suppress(OSError, ValueError):  # what stands in for it may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    name="prism",
    cls=PrismGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        render.result(__version__)
        raise typer.Exit


@app.callback()
def prism(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    r"""Learn a concept from a few photos, and draw it anywhere.

    Begin with: prism train ./photos --name mydog, then: prism gen "A \[mydog] box"
    """


def main() -> None:
    """Run the application (the ``prism`` script)."""
    # OpenMP's threads spin while they wait for each other: beside any other busy process that makes
    # a training several times slower. Where they sleep at once, it is slower alone. So they spin a
    # moment, then sleep, unless told otherwise (benchmarks/waiting.py has the figures).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # libgomp's, which torch has on Linux
    # Else huggingface_hub tells the Hub what is installed here, and which program started it.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a caption may not fit the terminal's encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    app(prog_name="prism")
