"""`prism bases pull`: a base from the Hub, into the cache that all tools on this machine share."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from huggingface_hub import HfApi, RepoFile, constants, hf_hub_download
from huggingface_hub.utils import logging

from prism_cli import __version__, paths
from prism_cli.backbones import catalog, hub_cache
from prism_cli.backbones.families import FAMILIES, NAMED, NAMES, Family
from prism_cli.errors import (
    BaseNotDownloaded,
    BaseRefused,
    DownloadDamaged,
    storage,
)
from prism_cli.files import check_room
from prism_cli.services.bases import Ahead, wants_gpu
from prism_cli.services.download_meter import STAGE, Meter, megabytes
from prism_cli.services.events import Note, OnEvent, StageBegan, StageEnded, ignore
from prism_cli.services.hub_requests import Source, patiently, told

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # SHA-1 as git has it, SHA-256
_NOTICED = 10**9  # bytes; hashing them takes a second or more
_CONFIGS = {hub_cache.INDEX, "config.json", "scheduler_config.json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """A base that is here now. size and downloaded: bytes, in all and of this time.

    quantized: where the copy lies that was asked for.
    """

    name: str
    repository: str
    revision: str
    folder: Path
    size: int
    downloaded: int
    quantized: Path | None = None


def pull(
    base: str,
    revision: str | None = None,
    on_event: OnEvent = ignore,
    *,
    warn: bool = True,
    pin: bool = True,
    accept: Callable[[Family], None] = lambda family: None,
) -> Pulled:
    """Download what `base` is loaded from, check it, and use it at this commit from now on.

    revision: None stays at the commit that is pinned, or pins what "main" is now. warn: say that
    this machine is too small, where it is. pin: False leaves the commit that is used from now on.
    accept: raises where a base of such a family is not wanted. What the cache holds already is
    checked, and not downloaded again unless it is damaged.
    Raises BaseNotFound, BaseRefused, BaseGated, HubUnreachable, DownloadDamaged, StorageFailed.
    """
    refuse_what_is_here(base)
    repository = catalog.repository_of(base)
    name = NAMES.get(repository, repository)
    pinned = hub_cache.pinned(repository) if revision is None else None
    damaged: Collection[str] = ()
    if pinned is not None:
        folder = hub_cache.snapshot(repository, pinned)
        if (found := catalog.described(folder)) is not None:
            accept(found[1])
        damaged = _damaged(folder, found[1].parts if found else (), on_event)
        if not damaged and (here := _here(name, repository)) is not None:
            hub_cache.pin(repository, pinned)
            return here
    source = _base(name, repository, revision, trained=not pin)
    with storage("write", paths.hub_cache()), told(source):
        pulled = _pull(source, on_event, warn, accept, damaged)
        if pin:
            hub_cache.pin(repository, pulled.revision)
    return pulled


def refuse_what_is_here(base: str) -> None:
    """Raise BaseRefused for mini, and for a folder that can be no repository of the Hub."""
    if base == "mini":
        raise BaseRefused(
            "mini is a part of prism, and there is nothing to download",
            hint="use it: prism train PHOTOS --name NAME",
        )
    if base not in NAMED and not hub_cache.is_repository(base) and Path(base).is_dir():
        raise BaseRefused(
            f"{base} is a folder on this machine, and there is nothing to download",
            hint=f"use it: prism train PHOTOS --name NAME --base {shlex.quote(base)}",
        )


def peek(base: str, revision: str | None = None, on_event: OnEvent = ignore) -> Ahead:
    """Fetch the configs of a base that is not here, a few kB, so that it can be planned with.

    revision: None is the commit that `pull` would take. It is not pinned.
    Raises what `pull` raises.
    """
    repository = catalog.repository_of(base)
    name = NAMES.get(repository, repository)
    source = _base(name, repository, revision, trained=revision is not None)
    with storage("write", paths.hub_cache()), told(source):
        remote = _look(source)
        if (note := wants_gpu(source.name, remote.family)) is not None:
            on_event(note)
        configs = [file for file in remote.wanted if Path(file.path).name in _CONFIGS]
        for file in configs:
            patiently(_fetch, repository, remote.commit, file, None)
    fetched = sum(file.size for file in configs) / 1000
    on_event(Note(f"{name} is not here: its configs were fetched to plan with, {fetched:.1f} kB"))
    return Ahead(
        catalog.described_at(repository, remote.commit),
        size=sum(file.size for file in remote.wanted),
        download=sum(file.size for file in remote.absent if file not in configs),
    )


def _base(name: str, repository: str, asked: str | None, *, trained: bool = False) -> Source:
    """asked: a revision, or None for what `name` means. trained: no other than this will do."""
    pull = f"prism bases pull {name}"
    return Source(
        name,
        repository,
        asked or hub_cache.pinned(repository) or _main(name),
        command=f"{pull} --revision {asked}" if asked else pull,
        newest="" if trained else f"{pull} --revision main",
    )


def pull_files(
    source: Source,
    choose: Callable[[Collection[str]], Collection[str]],
    on_event: OnEvent = ignore,
) -> Pulled:
    """Download those files of a repository that `choose` takes from its listing, each checked.

    Raises what `pull` raises, and what `choose` does.
    """
    with storage("write", paths.hub_cache()), told(source):
        commit, files = _listed(source)
        here = hub_cache.files_in(hub_cache.snapshot(source.repository, commit))
        wanted = [files[path] for path in choose(files)]
        absent = [file for file in wanted if file.path not in here]
        return _bring(source, commit, wanted, absent, on_event)


def _main(name: str) -> str:
    """What is pinned where nothing was asked for."""
    return NAMED[name].revision if name in NAMED else constants.DEFAULT_REVISION


def _here(name: str, repository: str) -> Pulled | None:
    """The base as it lies in the cache; None where it is not whole."""
    try:
        entry = catalog.resolve_pulled(repository, name)
    except BaseNotDownloaded:
        return None
    files = catalog.loaded_files(entry.folder)
    return Pulled(
        name=name,
        repository=repository,
        revision=entry.revision,
        folder=entry.folder,
        size=sum(file.stat().st_size for file in files),
        downloaded=0,
    )


def _damaged(folder: Path, parts: Collection[str], on_event: OnEvent) -> list[str]:
    """The files of a pipeline of these `parts` that are not what they were when they came.

    The cache names a file after its hash, and links to it, from several places where they are the
    same. Of what is no such link nothing is known: on a disk without links, or put there by hand.
    """
    links: dict[Path, list[str]] = {}
    for file in hub_cache.needed(sorted(hub_cache.files_in(folder)), parts):
        if (blob := _blob(folder, file)) is not None:
            links.setdefault(blob, []).append(file)
    size = sum(blob.stat().st_size for blob in links)
    if size > _NOTICED:
        on_event(Note(f"checking the {size / 1e9:.1f} GB that are here"))
    found: list[str] = []
    for blob, files in links.items():
        with storage("read", blob):
            if not _is_named(blob, blob.name):
                found += files
    for file in found:
        on_event(Note(f"{file} is damaged, and is fetched again", "warning"))
    return found


def _blob(folder: Path, file: str) -> Path | None:
    """What a file of a snapshot links to in its cache; None where it is no such link."""
    blob = (folder / file).resolve()
    kept = blob.parent == (folder.parents[1] / "blobs").resolve() and _HASH.fullmatch(blob.name)
    return blob if kept else None


@dataclass(frozen=True, slots=True)
class _Remote:
    """A repository at a commit. wanted: the files that are loaded. absent: those not here."""

    commit: str
    family: Family
    wanted: list[RepoFile]
    absent: list[RepoFile]


def _look(
    source: Source,
    accept: Callable[[Family], None] = lambda family: None,
    damaged: Collection[str] = (),
) -> _Remote:
    """Ask what a repository holds, and fetch its ``model_index.json``, nothing larger.

    damaged: files that count as absent. Raises BaseRefused where that is no pipeline an adapter
    serves, and what `accept` raises.
    """
    commit, files = _listed(source)
    before = hub_cache.files_in(hub_cache.snapshot(source.repository, commit)) - {*damaged}
    family = _family(source, commit, files)
    accept(family)
    wanted = [files[path] for path in hub_cache.needed(files, family.parts)]
    missing = hub_cache.lacking([file.path for file in wanted], family.parts)
    if missing is not None:
        raise BaseRefused(
            f"{source.repository} has no {missing}, which prism would load",
            hint="choose a repository in diffusers' format with weights in safetensors files",
        )
    return _Remote(commit, family, wanted, [file for file in wanted if file.path not in before])


def _listed(source: Source) -> tuple[str, dict[str, RepoFile]]:
    """The commit that a source's revision is now, and the files there by path."""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what goes wrong is told in a sentence
    api = HfApi(library_name="prism", library_version=__version__)
    info = patiently(
        api.model_info,
        source.repository,
        revision=source.revision,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
    )
    commit = str(info.sha)
    tree = api.list_repo_tree(source.repository, revision=commit, recursive=True)
    return commit, {file.path: file for file in tree if isinstance(file, RepoFile)}


def _pull(
    source: Source,
    on_event: OnEvent,
    warn: bool,
    accept: Callable[[Family], None],
    damaged: Collection[str],
) -> Pulled:
    remote = _look(source, accept, damaged)
    if warn and (note := wants_gpu(source.name, remote.family)) is not None:
        on_event(note)
    return _bring(source, remote.commit, remote.wanted, remote.absent, on_event)


def _bring(
    source: Source,
    commit: str,
    wanted: Collection[RepoFile],
    absent: Collection[RepoFile],
    on_event: OnEvent,
) -> Pulled:
    """Fetch the wanted files, of which some are absent from the cache, and check each."""
    size = sum(file.size for file in absent)
    check_room(paths.hub_cache(), size, "what is to be downloaded takes", "HF_HOME")
    meter = Meter(sum(file.size for file in wanted), on_event)
    on_event(StageBegan(STAGE, megabytes(meter.total), unit="MB"))
    # One after another: Xet fetches the pieces of a file in parallel, and Ctrl-C ends at once.
    for file in sorted(wanted, key=lambda file: file.size):
        patiently(_fetch, source.repository, commit, file, meter)
        meter.settle(file.size)
    on_event(StageEnded(STAGE, megabytes(meter.total), "done"))
    return Pulled(
        name=source.name,
        repository=source.repository,
        revision=commit,
        folder=hub_cache.snapshot(source.repository, commit),
        size=sum(file.size for file in wanted),
        downloaded=sum(file.size for file in absent),
    )


def _family(source: Source, commit: str, files: dict[str, RepoFile]) -> Family:
    """What kind of pipeline the repository holds, read from its ``model_index.json`` alone."""
    if hub_cache.INDEX not in files:
        raise BaseRefused(
            f"{source.repository} holds no pipeline: it has no {hub_cache.INDEX}",
            hint="choose a repository in diffusers' format",
        )
    index = patiently(_fetch, source.repository, commit, files[hub_cache.INDEX], None)
    try:
        pipeline = json.loads(index.read_text("utf-8"))["_class_name"]
        return FAMILIES[pipeline]
    except (ValueError, KeyError, TypeError) as error:
        raise BaseRefused(
            f"{source.repository} holds no pipeline that an adapter serves ({error})",
            hint=f"choose one with {', '.join(FAMILIES)}",
        ) from error


def _fetch(repository: str, commit: str, file: RepoFile, meter: Meter | None) -> Path:
    """Bring one file into the cache, and compare it with the hash that the Hub has of it.

    huggingface_hub itself compares sizes only, where it does not download through Xet.
    """
    try:
        path = Path(
            hf_hub_download(
                repository,
                file.path,
                revision=commit,
                cache_dir=paths.hub_cache(),
                library_name="prism",
                library_version=__version__,
                tqdm_class=cast(Any, meter or Meter(0, ignore)),
            )
        )
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # its "consistency check": the size
            raise DownloadDamaged(
                f"{file.path} of {repository} arrived cut short", hint="run the same command again"
            ) from error
        raise
    if not _is_named(path, file.lfs.sha256 if file.lfs else file.blob_id):
        blob = _blob(hub_cache.snapshot(repository, commit), file.path)
        if blob is not None:  # not what a user has linked to
            blob.unlink()
        path.unlink(missing_ok=True)
        raise DownloadDamaged(
            f"{file.path} of {repository} is not what the Hub says it is; it was deleted",
            hint="run the same command again",
        )
    return path


def _is_named(path: Path, name: str) -> bool:
    """Whether a file's content has this hash: SHA-256 of the Hub's large ones, else git's SHA-1."""
    with path.open("rb") as opened:
        if len(name) == 64:
            return hashlib.file_digest(opened, "sha256").hexdigest() == name
        blob = opened.read()
    return hashlib.sha1(b"blob %d\0" % len(blob) + blob, usedforsecurity=False).hexdigest() == name
