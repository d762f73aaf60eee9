"""`prism inspect`."""

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
)
from prism_cli.cli.progress import progress
from prism_cli.errors import Interrupted


@app.command("inspect")
def inspect_command(
    name: ConceptName,
    photos: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where its photos are; else where they were."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Where the pictures go.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the first photo's row of pictures.")
    ] = 0,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    show: Annotated[bool, typer.Option("--show", help="Show the result in the terminal.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files of that name.")] = False,
    dry_run: DrawingDryRunFlag = False,
    yes: YesDownloadFlag = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show what a concept has learned, and what it has left out.

    For each photo: the target alone, its residual alone, and both; and how much each residual says
    of each photo, which should be little of all but its own.
    """
    render.use(json=json, quiet=quiet)
    from prism_cli.services.inspect import InspectRequest, InspectResult, inspect, plan_inspection
    from prism_cli.services.rehearsal import rehearse_shots

    request = InspectRequest(
        name=name,
        photos=photos,
        out=out,
        seed=seed,
        steps=steps,
        guidance=guidance,
        force=force,
    )
    if dry_run:
        plan = plan_inspection(request)
        fit = rehearse_shots(plan.entry, plan.sampling, plan.pictures)
        composed.inspection_plan(plan, fit)
        return

    def look() -> InspectResult:
        with progress() as on_event:
            return inspect(request, on_event)

    try:
        result = with_base_of_concept(look, yes)
    except KeyboardInterrupt:
        raise Interrupted(
            "the inspection was stopped", hint="run the same command again to start it over"
        ) from None
    composed.inspection(result, show)
