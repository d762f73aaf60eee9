"""`prism gen`, also called generate."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prism_cli.cli import render
from prism_cli.cli.bases import make_sure_of, with_base_of_concept
from prism_cli.cli.main import app
from prism_cli.cli.options import (
    BaseOption,
    CompileFlag,
    DrawingDryRunFlag,
    GuidanceOption,
    JsonFlag,
    QuietFlag,
    StepsOption,
    YesDownloadFlag,
    complete_prompt,
)
from prism_cli.cli.planning import look_ahead, look_ahead_after
from prism_cli.cli.progress import progress
from prism_cli.errors import BaseNotDownloaded, Interrupted
from prism_cli.placeholders import MOST_WEIGHT


class DrawingMethod(StrEnum):
    """How the LoRAs of several concepts act together."""

    SUM = "sum"
    PER_TOKEN = "per-token"


@app.command("generate", hidden=True)
@app.command("gen")
def gen_command(
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT",
            help=r'What to draw, e.g. "A \[mydog] box".',
            autocompletion=complete_prompt,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=1000, help="How many pictures.")
    ] = 1,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**32 - 1, help="Of the first picture, the next has one more; else random."
        ),
    ] = None,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    negative: Annotated[
        str | None,
        typer.Option(help="What to keep out of the picture; takes guidance above 1, not FLUX.1."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="N|WxH", help="In pixels, 512 or 768x512; else the base's."),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            min=-MOST_WEIGHT,
            max=MOST_WEIGHT,
            help="LoRA weight, where the prompt gives none; else 1.",
        ),
    ] = None,
    method: Annotated[
        DrawingMethod | None,
        typer.Option(
            help="Add up the LoRAs of several concepts, or keep each to where its token attends."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="A .png file, or a folder.")
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="PICTURE", help="Draw this picture again, changed by other options."
        ),
    ] = None,
    base: BaseOption = None,
    show: Annotated[bool, typer.Option("--show", help="Show the result in the terminal.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files of that name.")] = False,
    compiled: CompileFlag = False,
    dry_run: DrawingDryRunFlag = False,
    yes: YesDownloadFlag = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    r"""Draw pictures, with concepts in them.

    \[name] in the prompt is a concept, \[name:0.7] sets the weight of its LoRA, and
    \[name:residual:0] is what its first photo held besides it. Of a composition, \[name] is all of
    it and \[name:part] one of its concepts. A backslash makes a plain bracket.
    """
    render.use(json=json, quiet=quiet)
    from prism_cli.services.early import check_drawing, check_prompts
    from prism_cli.services.picture_metadata import read_record
    from prism_cli.services.picture_paths import picture_paths

    check_prompts(prompt or "", negative or "")
    check_drawing(steps, guidance)
    wanted = None if size is None else _size(size)
    if replay is not None:
        read_record(replay)
    picture_paths(out, (), range(count), force=force)  # a name that is taken, before a download
    ahead = None
    if dry_run:
        ahead = look_ahead(base)
    else:
        make_sure_of(base, yes)  # before torch is imported, which takes seconds
    from prism_cli.services.generate import DrawRequest, DrawResult, generate
    from prism_cli.services.rehearsal import DrawingPlan, rehearse_drawing

    request = DrawRequest(
        prompt=prompt,
        count=count,
        seed=seed,
        steps=steps,
        guidance=guidance,
        negative=negative,
        size=wanted,
        scale=scale,
        method=method,
        out=out,
        base=base,
        replay=replay,
        force=force,
        compiled=compiled,
        ahead=ahead,
    )

    def plan() -> DrawingPlan:
        try:
            with progress() as on_event:
                return rehearse_drawing(request, on_event)
        except BaseNotDownloaded as refusal:
            ahead = look_ahead_after(refusal)
        with progress() as on_event:
            return rehearse_drawing(replace(request, ahead=ahead), on_event)

    def draw() -> DrawResult:
        with progress() as on_event:
            return generate(request, on_event)

    try:
        if dry_run:
            planned = plan()
        else:
            drawn = with_base_of_concept(draw, yes)
    except KeyboardInterrupt:
        if dry_run:
            raise Interrupted("the dry run was stopped", hint="nothing was written") from None
        raise Interrupted(
            "the drawing was stopped", hint="run the same command again to start it over"
        ) from None
    if dry_run:
        render.drawing_plan(planned)
    else:
        render.drawn(drawn, show)


def _size(text: str) -> tuple[int, int]:
    """Width and height: ``64`` or ``96x64``."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise typer.BadParameter(
            f"{text!r} is not a size such as 512 or 768x512", param_hint="'--size'"
        )
    return int(sides[0]), int(sides[-1])
