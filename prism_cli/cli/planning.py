"""What a dry run does about a base that is not on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prism_cli.cli import render
from prism_cli.cli.progress import progress
from prism_cli.errors import BaseNotDownloaded, HubUnreachable

if TYPE_CHECKING:
    from prism_cli.services.bases import Ahead, Offer


def look_ahead(base: str | None) -> Ahead | None:
    """The base as its configs describe it, where it is not here; None where it is.

    A dry run downloads no weights. Where the Hub cannot be reached it says how much a run would
    download, and raises BaseNotDownloaded.
    """
    from prism_cli.services.bases import offer_for

    offer = offer_for(base)
    return None if offer is None else _peek(offer)


def look_ahead_after(refusal: BaseNotDownloaded) -> Ahead:
    """The same of the base that a concept was trained on, for want of which a plan failed."""
    from prism_cli.services.bases import offer_after

    offer = offer_after(refusal)
    if offer is None:
        raise refusal
    return _peek(offer)


def _peek(offer: Offer) -> Ahead:
    from prism_cli.services.downloads import peek

    try:
        with progress() as on_event:
            return peek(offer.base, offer.revision, on_event)
    except HubUnreachable:
        if offer.size:
            render.hint(f"a run would first download {render.size(offer.size)}")
        raise offer.refusal from None
