"""`prism caption --pull`: the local captioner, into the cache that all tools share."""

from __future__ import annotations

from collections.abc import Collection

from prism_cli.backbones import hub_cache
from prism_cli.errors import BaseRefused
from prism_cli.services import local_captioner
from prism_cli.services.downloads import Pulled, pull_files
from prism_cli.services.events import OnEvent, ignore
from prism_cli.services.hub_requests import Source


def pull_captioner(on_event: OnEvent = ignore) -> Pulled:
    """Download what the captioner is loaded from, at the pinned revision, and check every file.

    Raises what `downloads.pull` raises. What is here already is not downloaded again.
    """
    source = Source(
        "the local captioner",
        local_captioner.REPOSITORY,
        local_captioner.REVISION,
        local_captioner.COMMAND,
    )
    if (folder := local_captioner.find()) is not None:
        files = (folder / file for file in local_captioner.needed(hub_cache.files_in(folder)))
        return Pulled(
            name=source.name,
            repository=source.repository,
            revision=source.revision,
            folder=folder,
            size=sum(file.stat().st_size for file in files),
            downloaded=0,
        )
    return pull_files(source, _wanted, on_event)


def _wanted(files: Collection[str]) -> Collection[str]:
    missing = local_captioner.lacking(files)
    if missing is not None:
        raise BaseRefused(
            f"{local_captioner.REPOSITORY} has no {missing}, which prism would load",
            hint="use --captions files, or write photo.txt beside photo.jpg",
        )
    return local_captioner.needed(files)
