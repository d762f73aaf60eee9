"""`prism train`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from prism_cli.cli import render
from prism_cli.cli.bases import make_sure_of
from prism_cli.cli.caption import ModelOption, Source, SourceOption, local_or_next
from prism_cli.cli.main import app
from prism_cli.cli.options import (
    BaseOption,
    CompileFlag,
    ForceFlag,
    JsonFlag,
    Kind,
    QuietFlag,
    YesDownloadFlag,
)
from prism_cli.cli.planning import look_ahead
from prism_cli.cli.progress import progress
from prism_cli.errors import Interrupted, OptionRefused
from prism_cli.settings import CROPS, Recipe, limits, resolve

_METHOD = "Method (else what the --config file says, else the base's default)"


class Crop(StrEnum):
    """How a photo that is not square is used."""

    CENTER = "center"
    RANDOM = "random"


def _method(flag: str, setting: str, text: str) -> Any:
    low, high = limits(setting)
    text = f"{text} ({low:.7g} to {high:.7g})."
    return typer.Option(flag, help=text, rich_help_panel=_METHOD, show_default=False)


@app.command("train")
def train_command(
    photos: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where 3 to 8 photos of one thing are.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="The concept's name; else the folder's.")
    ] = None,
    base: BaseOption = None,
    class_word: Annotated[
        str | None, typer.Option("--class", metavar="WORD", help="Start the target as this word.")
    ] = None,
    kind: Annotated[
        Kind, typer.Option(help="What the photos share; it picks the prompts of the preview.")
    ] = Kind.SUBJECT,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="The same one gives the same concept.")
    ] = 0,
    crop: Annotated[
        Crop, typer.Option(help="Use the centre of each photo, or several random crops.")
    ] = Crop.CENTER,
    crops: Annotated[
        int | None,
        typer.Option(min=1, max=64, help=f"Of each photo, with --crop random; else {CROPS}."),
    ] = None,
    keep_similar: Annotated[
        bool, typer.Option("--keep-similar", help="Use photos that are nearly the same too.")
    ] = False,
    hold_out: Annotated[
        int,
        typer.Option(min=0, max=64, metavar="N", help="Leave the last N photos for `prism eval`."),
    ] = 0,
    captions: SourceOption = None,
    caption_model: ModelOption = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings in TOML; flags win over it.")
    ] = None,
    force: ForceFlag = False,
    compiled: CompileFlag = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done, the time and the room it takes."),
    ] = False,
    yes: YesDownloadFlag = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    token_steps: Annotated[
        int | None, _method("--token-steps", "tokens.steps", "Most steps of stage 1, the tokens")
    ] = None,
    token_lr: Annotated[
        float | None, _method("--token-lr", "tokens.lr", "Learning rate of stage 1")
    ] = None,
    beta: Annotated[
        float | None, _method("--beta", "tokens.beta", "Weight of the exclusion loss")
    ] = None,
    anchors: Annotated[
        int | None,
        _method("--anchors", "tokens.anchors", "Other photos that the exclusion loss looks at"),
    ] = None,
    length: Annotated[
        int | None, _method("--length", "tokens.length", "Vectors of the target token")
    ] = None,
    residual_length: Annotated[
        int | None,
        _method(
            "--residual-length",
            "tokens.residual_length",
            "Vectors of a residual token, 0 for its caption's",
        ),
    ] = None,
    lora_steps: Annotated[
        int | None,
        _method("--lora-steps", "finetuning.steps", "Most steps of stage 2, the LoRA; 0 for none"),
    ] = None,
    lora_lr: Annotated[
        float | None, _method("--lora-lr", "finetuning.lr", "Learning rate of stage 2")
    ] = None,
    rank: Annotated[int | None, _method("--rank", "finetuning.rank", "Rank of the LoRA")] = None,
) -> None:
    """Learn a concept from a folder of photos.

    Captions help to tell the concept from the rest; `prism caption` shows and writes them.
    Stopped with Ctrl-C, the same command goes on from where it was.
    """
    render.use(json=json, quiet=quiet)
    if crops is not None and crop is Crop.CENTER:
        raise OptionRefused(
            "--crops says how many random crops, and the centre is used",
            hint="add --crop random, or leave out --crops",
        )
    from prism_cli.services.early import check_folder, check_text, free_name
    from prism_cli.services.settings_file import read_settings

    flags = {
        "tokens.steps": token_steps,
        "tokens.lr": token_lr,
        "tokens.beta": beta,
        "tokens.anchors": anchors,
        "tokens.length": length,
        "tokens.residual_length": residual_length,
        "finetuning.steps": lora_steps,
        "finetuning.lr": lora_lr,
        "finetuning.rank": rank,
        "captions.source": captions and captions.value,
        "captions.model": caption_model,
    }
    file = read_settings(config) if config else {}
    free_name(photos, name, replace=force)
    check_folder(photos)
    check_text(class_word)
    resolve(Recipe(), file, flags)
    ahead = None
    if dry_run:
        ahead = look_ahead(base)
    else:
        make_sure_of(base, yes)  # before torch is imported, which takes seconds
    source = captions or file.get("captions.source")
    if source == Source.LOCAL and not dry_run and local_or_next(yes) is Source.AUTO:
        flags["captions.source"] = Source.AUTO.value
    from prism_cli.services.prepare import TrainRequest
    from prism_cli.services.rehearsal import rehearse
    from prism_cli.services.train import train

    request = TrainRequest(
        folder=photos,
        name=name,
        base=base,
        class_word=class_word,
        kind=kind,
        seed=seed,
        crop="random" if crop is Crop.RANDOM else "center",
        crops=crops or CROPS,
        keep_similar=keep_similar,
        hold_out=hold_out,
        force=force,
        compiled=compiled,
        ahead=ahead,
        flags=flags,
        file=file,
    )
    try:
        with progress() as on_event:
            if dry_run:
                plan = rehearse(request, on_event)
            else:
                learned = train(request, on_event)
    except KeyboardInterrupt:
        if dry_run:
            raise Interrupted("the dry run was stopped", hint="nothing was written") from None
        raise Interrupted(
            "the training was stopped",
            hint="run the same command again to go on from its last checkpoint",
        ) from None
    if dry_run:
        render.plan(plan)
    else:
        render.trained(learned)
