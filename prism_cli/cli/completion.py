"""`prism completion`: the script that makes a shell complete prism's commands and concepts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from prism_cli.cli import render
from prism_cli.cli.main import app


class Shell(StrEnum):
    """A shell that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command("completion")
def completion_command(
    shell: Annotated[
        Shell, typer.Argument(metavar="SHELL", help="The shell that the script is for.")
    ],
) -> None:
    """Print a completion script, e.g. for bash: eval "$(prism completion bash)"."""
    from typer._completion_shared import get_completion_script  # no public name gives the script

    script = get_completion_script(prog_name="prism", complete_var="_PRISM_COMPLETE", shell=shell)
    render.result(script)
