"""`prism compose`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from prism_cli.cli import composed, render
from prism_cli.cli.bases import with_base_of_concept
from prism_cli.cli.main import app
from prism_cli.cli.options import (
    ForceFlag,
    JsonFlag,
    QuietFlag,
    YesDownloadFlag,
    complete_concept,
    numbers,
)
from prism_cli.cli.progress import progress
from prism_cli.errors import Interrupted


class Method(StrEnum):
    """How several LoRAs become one."""

    SUM = "sum"
    TIES = "ties"
    DARE = "dare"
    PER_TOKEN = "per-token"


@app.command("compose")
def compose_command(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", autocompletion=complete_concept, help="Two concepts or more."
        ),
    ],
    weights: Annotated[
        str | None, typer.Option(metavar="W,W", help="One of each LoRA, e.g. 1,0.8; else 1.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Of the composition; else the names joined.")
    ] = None,
    phrase: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help=r'What its name stands for, e.g. "\[mydog] painted in \[watercolor]".',
        ),
    ] = None,
    method: Annotated[
        Method,
        typer.Option(help="Add the LoRAs, merge them otherwise, or keep each to its own token."),
    ] = Method.SUM,
    rank: Annotated[
        int | None, typer.Option(help="Cut the merged LoRA to this rank; else it keeps all.")
    ] = None,
    density: Annotated[
        float | None, typer.Option(help="Share of elements that ties and dare keep; else 0.5.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Of dare's chance; else 0.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps of the pictures; else the base's.")
    ] = None,
    preview: Annotated[
        bool | None,
        typer.Option(
            "--preview/--no-preview", help="Draw it, and on mini score it; else on mini only."
        ),
    ] = None,
    force: ForceFlag = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report how they interfere, and write nothing.")
    ] = False,
    yes: YesDownloadFlag = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    r"""Put concepts that were learned apart into one, with no training.

    \[NAME] then draws them together and \[NAME:part] one of them. The report says which layers of
    two LoRAs clash. A prompt that names several concepts composes them on the fly.
    """
    render.use(json=json, quiet=quiet)
    from prism_cli.services.compose import ComposeRequest, ComposeResult, compose

    request = ComposeRequest(
        names=tuple(names),
        weights=() if weights is None else numbers(weights, "--weights"),
        name=name,
        phrase=phrase,
        method=method,
        rank=rank,
        density=density,
        seed=seed,
        steps=steps,
        preview=preview,
        force=force,
        dry_run=dry_run,
    )

    def merge() -> ComposeResult:
        with progress() as on_event:
            return compose(request, on_event)

    try:
        result = merge() if dry_run else with_base_of_concept(merge, yes)
    except KeyboardInterrupt:
        raise Interrupted("the composition was stopped", hint="nothing was written") from None
    composed.composition(result)
