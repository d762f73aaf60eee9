"""What a dry run says of a base that is not on this machine."""

from __future__ import annotations

from prism_cli.cli import render


def tell_download(base: str | None) -> None:
    """A dry run downloads nothing: say how much a run would, and stop where there is no base."""
    from prism_cli.services.bases import offer_for

    offer = offer_for(base)
    if offer is None:
        return
    if offer.size:
        render.hint(f"a run would first download {render.size(offer.size)}")
    raise offer.refusal
