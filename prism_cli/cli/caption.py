"""`prism caption`, and the question that comes before the local captioner is downloaded."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prism_cli.cli import listing, render
from prism_cli.cli.main import app
from prism_cli.cli.options import BaseOption, JsonFlag, QuietFlag
from prism_cli.cli.progress import progress
from prism_cli.cli.terminal import is_terminal
from prism_cli.errors import HubUnreachable, Interrupted, OptionRefused
from prism_cli.settings import CaptionOptions

if TYPE_CHECKING:
    from prism_cli.services.downloads import Pulled


class Source(StrEnum):
    """Who describes photos; the values are `settings.CAPTION_SOURCES`."""

    AUTO = "auto"
    FILES = "files"
    GEMINI = "gemini"
    LOCAL = "local"
    NONE = "none"


SourceOption = Annotated[
    Source | None,
    typer.Option(
        "--captions",
        help="Who describes the photos: files beside them, else the practice base's own words or a"
        " downloaded local model (auto); files only; Gemini, which gets the photos; the local"
        " model; or nobody. Files win, but for none. Without it: auto.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help=f"The Gemini model, where it is asked. Without it: {CaptionOptions().model}.",
        show_default=False,
    ),
]


@app.command("caption")
def caption_command(
    photos: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Where the photos are.")
    ] = None,
    source: SourceOption = None,
    model: ModelOption = None,
    base: BaseOption = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put each caption into photo.txt beside photo.jpg.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Describe photos that have a caption too; --write replaces it."
        ),
    ] = False,
    pull: Annotated[
        bool, typer.Option("--pull", help="Download the local model first, 1.9 GB.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Download the local model without asking.")
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show the captions that a training would start from, or write them to be edited.

    A caption describes the whole photo in 8 to 32 words. One that stands in a file beside its photo
    is used as it is and never replaced without --force.
    """
    render.use(json=json, quiet=quiet)
    if pull:
        pulled = _pull()
        if photos is None:
            listing.captioner(pulled)
            return
    if photos is None:
        raise OptionRefused(
            "no folder of photos was given", hint="for example: prism caption ./dog_photos"
        )
    if source is Source.LOCAL:
        source = local_or_next(yes)
    from prism_cli.services.caption_folder import CaptionRequest, caption_folder

    request = CaptionRequest(
        folder=photos,
        base=base,
        write=write,
        force=force,
        flags={"captions.source": source and source.value, "captions.model": model},
    )
    try:
        with progress() as on_event:
            captioned = caption_folder(request, on_event)
    except KeyboardInterrupt:
        raise Interrupted(
            "the captions were stopped",
            hint="run the same command again: what was answered is kept",
        ) from None
    render.captioned(captioned)
    if captioned.problems:
        raise typer.Exit(1)


def local_or_next(yes: bool) -> Source:
    """LOCAL, its model downloaded if the user agrees; without a network, AUTO.

    Asked on a terminal; elsewhere only `--yes` says so, and CaptionerNotDownloaded is raised.
    """
    from prism_cli.services import local_captioner

    if local_captioner.find() is not None:
        return Source.LOCAL
    if not yes and not is_terminal(sys.stdin):
        local_captioner.require()
    size = render.size(local_captioner.SIZE)
    if not render.confirmed(
        f"The local captioner is not on this machine. Download it ({size})?", yes
    ):
        render.hint("nothing was downloaded")
        raise typer.Exit(1)
    try:
        _pull()
    except HubUnreachable as error:
        from prism_cli.services.events import Note

        with progress() as on_event:
            on_event(Note(f"{error.message}; captions come from --captions auto", "warning"))
        return Source.AUTO
    return Source.LOCAL


def _pull() -> Pulled:
    from prism_cli.services.captioner_download import pull_captioner

    try:
        with progress() as on_event:
            return pull_captioner(on_event)
    except KeyboardInterrupt:
        raise Interrupted(
            "the download was stopped",
            hint="run the same command again: files that have arrived whole are kept",
        ) from None
