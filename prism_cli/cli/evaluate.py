"""`prism eval` and `prism report`."""

from __future__ import annotations

import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from prism_cli import paths
from prism_cli.cli import measured, render
from prism_cli.cli.bases import make_sure_of, with_base_of_concept
from prism_cli.cli.main import app
from prism_cli.cli.options import (
    BaseOption,
    ConceptName,
    DrawingDryRunFlag,
    JsonFlag,
    QuietFlag,
)
from prism_cli.cli.progress import progress
from prism_cli.cli.terminal import is_terminal
from prism_cli.errors import Interrupted
from prism_cli.settings import CaptionOptions

PhotosOption = Annotated[
    Path | None,
    typer.Option(
        "--photos",
        metavar="FOLDER",
        help="The photos it was learned from, else where they were; others there are held out.",
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FILE", help="Prompts of your own, one a line, * for the concept."
    ),
]
LiveFlag = Annotated[
    bool, typer.Option("--live", help="DreamBench's prompts for live subjects, not for objects.")
]


class Judge(StrEnum):
    """Who judges pictures; the values are `vlm_judge.JUDGES`."""

    GEMINI = "gemini"


JudgeOption = Annotated[
    Judge | None,
    typer.Option(
        "--judge",
        help="Ask Gemini too whether each prompt's first picture satisfies the paper's criteria; it"
        " gets the picture and, with --photos, the photos.",
    ),
]
JudgeModelOption = Annotated[
    str | None,
    typer.Option(
        "--judge-model",
        metavar="ID",
        help=f"The model that judges. Without it: {CaptionOptions().model}.",
        show_default=False,
    ),
]


@app.command("eval")
def eval_command(
    name: ConceptName,
    photos: PhotosOption = None,
    prompts: PromptsOption = None,
    live: LiveFlag = False,
    class_word: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="WORD",
            help='What the base draws in its place, "" for no word; else that of its training.',
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=100, help="Pictures of each prompt.")
    ] = 4,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of each prompt's first picture.")
    ] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Denoising steps; else the base's.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(min=1, help="Classifier-free guidance; else the base's.")
    ] = None,
    base: BaseOption = None,
    judge: JudgeOption = None,
    judge_model: JudgeModelOption = None,
    dry_run: DrawingDryRunFlag = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Download what is not here without asking.")
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Measure a concept: is the prompt obeyed, does it look like the photos, does it leak.

    Draws 25 prompts 4 times, with the concept and without, and keeps what it finds for the report.
    Stopped with Ctrl-C, the same command goes on from where it was.
    """
    render.use(json=json, quiet=quiet)
    from prism_cli.evaluation_prompts import read_prompts
    from prism_cli.registry.store import Registry
    from prism_cli.services.early import check_drawing, check_evaluable, check_folder, check_text
    from prism_cli.services.vlm_judge import model_of

    archive = Registry(paths.concepts_dir()).load(name)
    own = read_prompts(prompts) if prompts else None
    check_evaluable(archive, live=live, own=own is not None)
    check_drawing(steps, guidance)
    check_text(class_word)
    model_of(judge and judge.value, judge_model)
    if photos is not None:
        check_folder(photos)
    if not dry_run:
        from prism_cli.services.trained_base import base_of

        make_sure_of(base, yes)  # before torch is imported, which takes seconds
        if base is None:
            with_base_of_concept(partial(base_of, archive), yes)
        make_sure_of_judges(practice=archive.manifest.base.id == "mini", yes=yes)
    from prism_cli.services.evaluate import EvalRequest, evaluate, prepare_evaluation
    from prism_cli.services.rehearsal import rehearse_shots

    request = EvalRequest(
        name=name,
        photos=photos,
        prompts=own,
        live=live,
        class_word=class_word,
        count=count,
        seed=seed,
        steps=steps,
        guidance=guidance,
        base=base,
        judge=judge and judge.value,
        judge_model=judge_model,
    )
    try:
        with progress() as on_event:
            if dry_run:
                plan = prepare_evaluation(request, on_event)
            else:
                found = evaluate(request, on_event)
    except KeyboardInterrupt:
        raise Interrupted(
            "the evaluation was stopped",
            hint="run the same command again to go on from what is drawn and answered",
        ) from None
    if dry_run:
        fit = rehearse_shots(plan.entry, plan.sampling, plan.missing) if plan.missing else None
        measured.plan(plan, fit)
    else:
        measured.evaluated(found)
        if found.unanswered:
            raise typer.Exit(1)


def make_sure_of_judges(*, practice: bool, yes: bool) -> None:
    """Download what looks at a base's pictures and is not here, if the user agrees.

    The practice base brings its own.

    Asked on a terminal; elsewhere only `--yes` says so, and EncoderNotDownloaded is raised.
    """
    from prism_cli.services.encoder_files import missing_encoders, pull_encoder, refusal

    if practice:
        return
    missing = missing_encoders()
    if not missing:
        return
    if not yes and not is_terminal(sys.stdin):
        raise refusal(missing)
    names = " and ".join(source.name for source in missing)
    size = render.size(sum(source.size for source in missing))
    if not render.confirmed(f"{names} are not on this machine. Download ({size})?", yes):
        render.hint("nothing was downloaded")
        raise typer.Exit(1)
    with progress() as on_event:
        for source in missing:
            pull_encoder(source, on_event)


@app.command("report")
def report_command(
    name: ConceptName,
    photos: Annotated[
        Path | None,
        typer.Option(
            "--photos", metavar="FOLDER", help="Show the photos it was learned from, from there."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where to write; else NAME-report.html."),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Write Markdown, for a model card, not HTML.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show a concept on one page: scores, pictures, tokens, training, settings.

    The page is one HTML file that loads nothing. `prism eval` adds scores and pictures to it.
    """
    render.use(json=json, quiet=quiet)
    from prism_cli.services.report import ReportRequest, write_report

    request = ReportRequest(name=name, photos=photos, out=out, markdown=markdown, force=force)
    with progress() as on_event:
        written = write_report(request, on_event)
    measured.reported(written)
