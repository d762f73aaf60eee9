"""The base that concepts were trained on, at the very revision, for whatever draws them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress

from prism_cli.backbones import catalog
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.errors import BaseMismatch, BaseNotFound
from prism_cli.registry.archive import Archive
from prism_cli.registry.manifest import BaseRef


def common_base(archives: Mapping[str, Archive], asked: BaseEntry | None = None) -> BaseEntry:
    """The one base of all concepts, found where it was last used, or `asked` if it is that.

    Raises BaseMismatch where they are of two bases or revisions, or of another than what was asked
    for; BaseNotFound and BaseNotDownloaded where it is not here.
    """
    if asked is None:
        agreed_base(archives)
        entry = base_of(next(iter(archives.values())))
    else:
        _check_ids(archives)
        entry = asked
    for name, archive in archives.items():
        if archive.manifest.base.revision != entry.revision:
            raise _not_on(entry, name, archive)
    return entry


def agreed_base(archives: Mapping[str, Archive]) -> BaseRef:
    """The one base of all concepts, whether it is here or not. Raises BaseMismatch."""
    _check_ids(archives)
    (first, archive), *rest = archives.items()
    base = archive.manifest.base
    if all(other.manifest.base.revision == base.revision for _, other in rest):
        return base
    here = _one_that_is_here(archives)  # who is to be trained again; a download would help nobody
    for name, other in archives.items():
        if here is not None and other.manifest.base.revision != here.revision:
            raise _not_on(here, name, other)
    name, other = next(each for each in rest if each[1].manifest.base.revision != base.revision)
    raise BaseMismatch(
        f"{_trained(first, archive)}, and {name!r} on its revision {other.manifest.base.revision}",
        hint=f"train one again on the other's: {_training(name, _flag(archive))}",
    )


def base_of(archive: Archive) -> BaseEntry:
    """The base that one concept was trained on; BaseNotFound or BaseNotDownloaded without it."""
    base = archive.manifest.base
    return catalog.resolve_trained(base.id, base.revision)


def _check_ids(archives: Mapping[str, Archive]) -> None:
    (first, archive), *rest = archives.items()
    for name, other in rest:
        if other.manifest.base.id != archive.manifest.base.id:
            raise BaseMismatch(
                f"{_trained(first, archive)}, {_trained(name, other)}, and concepts meet on one "
                "base only",
                hint=f"train one again on the other's base: {_training(name, _flag(archive))}",
            )


def _one_that_is_here(archives: Mapping[str, Archive]) -> BaseEntry | None:
    for archive in archives.values():
        with suppress(BaseNotFound):
            return base_of(archive)
    return None


def _not_on(entry: BaseEntry, name: str, archive: Archive) -> BaseMismatch:
    return BaseMismatch(
        f"{_trained(name, archive)}, not on {entry.id} revision {entry.revision}",
        hint=f"train it again on this base: {_training(name, _place(entry))}",
    )


def _trained(name: str, archive: Archive) -> str:
    base = archive.manifest.base
    return f"{name!r} was trained on {base.id} revision {base.revision}"


def _training(name: str, base: str) -> str:
    return f"prism train PHOTOS --name {name} --base {base} --force"


def _flag(archive: Archive) -> str:
    """What --base takes for an archive's base; an archive does not say where a folder is."""
    base = archive.manifest.base.id
    return "FOLDER" if base.startswith("local:") else shlex.quote(base)


def _place(entry: BaseEntry) -> str:
    """What --base takes for a base that is here."""
    return shlex.quote(str(entry.folder)) if entry.id.startswith("local:") else entry.id
