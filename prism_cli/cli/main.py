"""The application, and the boundary where an error becomes a sentence and an exit status."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from prism_cli import __version__
from prism_cli.cli import render
from prism_cli.errors import PrismError


class PrismGroup(TyperGroup):
    """Shows a `PrismError` as its message and hint; whatever else is raised is a bug."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except PrismError as error:
            render.error(error)
            raise typer.Exit(error.exit_status) from error


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

    Begin with: prism train ./photos --name mydog, then: prism gen "A \\[mydog] box"
    """


def main() -> None:
    """Run the application (the ``prism`` script)."""
    app()


from prism_cli.cli import completion, concepts, generate, train  # noqa: E402, F401 (they add commands)
