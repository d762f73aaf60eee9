"""`prism ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism_cli.cli import measured, render
from prism_cli.cli.bases import make_sure_of
from prism_cli.cli.evaluate import LiveFlag, PromptsOption, make_sure_of_judges
from prism_cli.cli.main import app
from prism_cli.cli.options import BaseOption, JsonFlag, Kind, QuietFlag
from prism_cli.cli.progress import progress
from prism_cli.errors import Interrupted
from prism_cli.settings import Recipe, resolve


@app.command("ablate")
def ablate_command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER", help="Photos of one concept each.")
    ],
    lengths: Annotated[
        str, typer.Option(metavar="N,N", help='Target lengths to compare; "" for none.')
    ] = "1,2,4,8",
    betas: Annotated[
        str, typer.Option(metavar="B,B", help='Exclusion weights to compare; "" for none.')
    ] = "0,0.01,0.05,0.1,0.5",
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Trainings of each setting and concept.")
    ] = 1,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Where finished cells are kept.")
    ] = Path("ablation.jsonl"),
    base: BaseOption = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Other settings of the training, in TOML.")
    ] = None,
    kind: Annotated[
        Kind, typer.Option(help="What the photos of each folder share; it picks the prompts.")
    ] = Kind.SUBJECT,
    prompts: PromptsOption = None,
    live: LiveFlag = False,
    class_word: Annotated[
        str | None,
        typer.Option("--class", metavar="WORD", help="What stands for the concept in texts."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=100, help="Pictures of each prompt.")
    ] = 4,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Denoising steps; else the base's.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(min=1, help="Classifier-free guidance; else the base's.")
    ] = None,
    keep_similar: Annotated[
        bool, typer.Option("--keep-similar", help="Use photos that are nearly the same too.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say how many trainings that are and how long they take."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Download what is not here without asking.")
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Repeat the paper's ablations: target length (Table 5), exclusion weight (Table 6).

    Each cell is a training and an evaluation; a finished one is kept in the results file and never
    done again. Means over concepts have 95 % bootstrap intervals.
    """
    render.use(json=json, quiet=quiet)
    from prism_cli.evaluation_prompts import read_prompts
    from prism_cli.services.early import (
        check_drawing,
        check_folder,
        check_list,
        check_text,
        check_varied,
    )
    from prism_cli.services.settings_file import read_settings

    ns = tuple(int(n) for n in _numbers(lengths, "--lengths", whole=True))
    weights = _numbers(betas, "--betas")
    file = read_settings(config) if config else {}
    own = read_prompts(prompts) if prompts else None
    check_text(class_word)
    check_list(kind, live=live, own=own is not None)
    check_drawing(steps, guidance)
    for folder in folders:
        check_folder(folder)
    check_varied(folders, ns, weights)
    resolve(Recipe(), file)
    if not dry_run:
        make_sure_of(base, yes)
        from prism_cli.services.bases import choose

        make_sure_of_judges(practice=choose(base, cuda=True)[0].practice, yes=yes)
    from prism_cli.services.ablate import ablate, plan_ablation
    from prism_cli.services.ablation_study import AblateRequest

    request = AblateRequest(
        folders=tuple(folders),
        lengths=ns,
        betas=weights,
        seeds=seeds,
        out=out,
        base=base,
        file=file,
        kind=kind,
        prompts=own,
        live=live,
        class_word=class_word,
        count=count,
        steps=steps,
        guidance=guidance,
        keep_similar=keep_similar,
    )
    if dry_run:
        from prism_cli.services.rehearsal import rehearse, rehearse_shots

        with progress() as on_event:
            planned = plan_ablation(request, on_event)
            fits = None
            if planned.missing:
                drawing = rehearse_shots(planned.entry, planned.sampling, planned.pictures)
                fits = (rehearse(planned.training).fit, drawing)
        measured.ablation_plan(planned, fits)
        return
    try:
        with progress() as on_event:
            found = ablate(request, on_event)
    except KeyboardInterrupt:
        raise Interrupted(
            "the ablation was stopped",
            hint="run the same command again to go on with the cell it was at",
        ) from None
    measured.ablated(found)


def _numbers(text: str, flag: str, *, whole: bool = False) -> tuple[float, ...]:
    """The numbers in ``1,2,4``; none in an empty text."""
    try:
        pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
        return tuple(int(piece) if whole else float(piece) for piece in pieces)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a list of numbers such as 1,2,4", param_hint=f"'{flag}'"
        ) from None
