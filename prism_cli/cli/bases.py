"""`prism bases`, and the question that comes before a download."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from prism_cli.cli import listing, render
from prism_cli.cli.main import app
from prism_cli.cli.options import JsonFlag, QuietFlag, complete_base
from prism_cli.cli.progress import progress
from prism_cli.cli.terminal import is_terminal
from prism_cli.errors import BaseNotDownloaded, Interrupted

if TYPE_CHECKING:
    from prism_cli.services.bases import Offer
    from prism_cli.services.downloads import Pulled

Done = TypeVar("Done")


class Quantize(StrEnum):
    """How bitsandbytes keeps weights."""

    NF4 = "nf4"
    INT8 = "int8"


bases = typer.Typer(invoke_without_command=True)
app.add_typer(bases, name="bases")


@bases.callback()
def bases_command(context: typer.Context, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """List the bases: what is here, how large, under which licence, and the default."""
    render.use(json=json, quiet=quiet)
    if context.invoked_subcommand is not None:
        return
    from prism_cli.services.bases import list_bases

    listing.bases(list_bases())


@bases.command("pull")
def pull_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A base's name, or OWNER/NAME.", autocompletion=complete_base
        ),
    ],
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION",
            help="A branch, tag or commit to use from now on; else the pinned one.",
        ),
    ] = None,
    quantize: Annotated[
        Quantize | None,
        typer.Option(
            help="Keep its weights in 4 or 8 bits too, for a GPU they would not fit on (flux)."
        ),
    ] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Download a base from the Hub, check it, and pin its revision.

    What is there already is checked, and not downloaded again unless it is damaged. It goes to the
    cache of the Hub's own tools.
    """
    before = render.style()  # what stood before "pull" counts too
    render.use(json=json or before.json, quiet=quiet or before.quiet)
    listing.pulled(_pull(name, revision, quantize))


def make_sure_of(base: str | None, yes: bool) -> None:
    """Download the base that a command was given and that is not here, if the user agrees.

    Asked on a terminal; elsewhere only `--yes` says so, and BaseNotDownloaded is raised.
    """
    from prism_cli.services.bases import offer_for

    if (offer := offer_for(base)) is not None:
        _take(offer, yes)


def with_base_of_concept(work: Callable[[], Done], yes: bool) -> Done:
    """What `work` returns; where it lacks the base of its concepts, after downloading that.

    At the revision that they were trained on, which does not become the one that is used from now
    on. Asked for as in `make_sure_of`. work: must look for the base before it writes anything.
    """
    from prism_cli.services.bases import offer_after

    try:
        return work()
    except BaseNotDownloaded as refusal:
        if (offer := offer_after(refusal)) is None:
            raise
    _take(offer, yes)
    return work()


def _take(offer: Offer, yes: bool) -> None:
    if offer.note is not None:
        with progress() as on_event:
            on_event(offer.note)
    if not yes and not is_terminal(sys.stdin):
        offer.refusal.hint += ", or add --yes"
        raise offer.refusal
    size = f" ({render.size(offer.size)})" if offer.size else ""
    at = f" at revision {offer.revision[:12]}" if offer.revision else ""
    if not render.confirmed(f"{offer.base}{at} is not on this machine. Download it{size}?", yes):
        render.hint("nothing was downloaded")
        raise typer.Exit(1)
    _pull(offer.base, offer.revision, None, warn=offer.note is None, pin=offer.revision is None)


def _pull(
    base: str,
    revision: str | None,
    quantize: Quantize | None,
    *,
    warn: bool = True,
    pin: bool = True,
) -> Pulled:
    try:
        with progress() as on_event:
            if quantize is not None:
                from prism_cli.services.quantizing import pull_quantized

                return pull_quantized(base, revision, quantize.value, on_event)
            from prism_cli.services.downloads import pull

            return pull(base, revision, on_event, warn=warn, pin=pin)
    except KeyboardInterrupt:
        raise Interrupted(
            "the download was stopped",
            hint="run the same command again: files that have arrived whole are kept",
        ) from None
