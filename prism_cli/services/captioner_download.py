"""`prism caption --pull`: the local captioner, into the cache that all tools share."""

from __future__ import annotations

from prism_cli import paths
from prism_cli.backbones import hub_cache
from prism_cli.errors import BaseRefused, storage
from prism_cli.services import local_captioner
from prism_cli.services.downloads import Pulled, Source, bring, listed, told
from prism_cli.services.events import OnEvent, ignore


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
    with storage("write", paths.hub_cache()), told(source):
        commit, files_there = listed(source)
        missing = local_captioner.lacking(files_there)
        if missing is not None:
            raise BaseRefused(
                f"{source.repository} has no {missing}, which prism would load",
                hint="use --captions files, or write photo.txt beside photo.jpg",
            )
        here = hub_cache.files_in(hub_cache.snapshot(source.repository, commit))
        wanted = [files_there[path] for path in local_captioner.needed(files_there)]
        absent = [file for file in wanted if file.path not in here]
        return bring(source, commit, wanted, absent, on_event)
