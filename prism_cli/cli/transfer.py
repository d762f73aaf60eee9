"""`prism transfer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism_cli.cli import composed, render
from prism_cli.cli.bases import with_base_of_concept
from prism_cli.cli.main import app
from prism_cli.cli.options import (
    ConceptName,
    DrawingDryRunFlag,
    GuidanceOption,
    JsonFlag,
    QuietFlag,
    StepsOption,
    YesDownloadFlag,
    numbers,
)
from prism_cli.cli.progress import progress
from prism_cli.errors import Interrupted


@app.command("transfer")
def transfer_command(
    name: ConceptName,
    nouns: Annotated[list[str], typer.Argument(metavar="NOUN...", help="E.g. box wolf doll.")],
    weights: Annotated[
        str,
        typer.Option(metavar="W,W", help="Of the LoRA: less for the noun, more for the concept."),
    ] = "0.2,0.4,0.7,1",
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=100, help="Pictures of each, a seed each.")
    ] = 3,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The prompt: * is the concept, {noun} each noun. Without it: 'a photo of * {noun}'"
            " for a subject; a noun in the style; an action behind the noun.",
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where its photos are; else where they were, or its preview."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Where the grids go.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the first picture of each.")
    ] = 0,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Keep the concept at the picked weight as NAME."),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show the pick in the terminal.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files and concepts of that name.")
    ] = False,
    dry_run: DrawingDryRunFlag = False,
    yes: YesDownloadFlag = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Move a concept onto other kinds of object: a book's cover onto a box.

    Draws each noun at several weights of the LoRA, a grid for each weight, and where somebody can
    judge says at which weight both the concept and the noun come through.
    """
    render.use(json=json, quiet=quiet)
    swept = numbers(weights, "--weights")
    from prism_cli.services.rehearsal import rehearse_shots
    from prism_cli.services.transfer import TransferRequest, TransferResult, plan_transfer, transfer

    request = TransferRequest(
        name=name,
        nouns=tuple(dict.fromkeys(nouns)),
        weights=swept,
        count=count,
        template=template,
        photos=photos,
        out=out,
        seed=seed,
        steps=steps,
        guidance=guidance,
        keep=keep,
        force=force,
    )
    if dry_run:
        plan = plan_transfer(request)
        composed.transfer_plan(plan, rehearse_shots(plan.entry, plan.sampling, plan.pictures))
        return

    def move() -> TransferResult:
        with progress() as on_event:
            return transfer(request, on_event)

    try:
        result = with_base_of_concept(move, yes)
    except KeyboardInterrupt:
        raise Interrupted(
            "the transfer was stopped", hint="run the same command again to start it over"
        ) from None
    composed.transferred(result, show)
    if keep and result.kept is None:
        render.hint(f"look at the grids, then keep one by its weight: --weights W --keep {keep}")
        raise typer.Exit(1)
