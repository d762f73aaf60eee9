"""The registry: a folder of archives. No index lies beside them; the files are the truth."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prism_cli.errors import (
    ConceptNotFound,
    FileMissing,
    NameTaken,
    OptionRefused,
    PrismError,
    storage,
)
from prism_cli.files import PARTIAL, locked, write_whole
from prism_cli.names import check_name, is_name, nearest
from prism_cli.registry.archive import Archive, pack, read_archive, read_manifest
from prism_cli.registry.manifest import Manifest
from prism_cli.registry.refusals import ArchiveRefused, NameMismatch

SUFFIX = ".prism"
LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of the registry: either its manifest, or the problem that keeps it from use.

    size: bytes. modified: UTC. Both a manifest and a problem where only the file's name is wrong.
    """

    name: str
    path: Path
    size: int
    modified: datetime
    manifest: Manifest | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Registry:
    """The archives in `folder`, which need not exist until one is added.

    A link counts as the file it leads to; one that leads nowhere is not there. Files of other
    names are passed over. Nothing is deleted but by `remove`, and what a killed write left behind.
    """

    folder: Path

    def names(self) -> list[str]:
        """List the concepts' names, sorted, from the folder alone: no file is opened."""
        with storage("read", self.folder):
            if not self.folder.exists():
                return []
            with os.scandir(self.folder) as files:
                return sorted(f.name.removesuffix(SUFFIX) for f in files if _is_archive(f))

    def passed_over(self) -> list[Path]:
        """List the archives' files that no concept can be called after, sorted."""
        with storage("read", self.folder):
            if not self.folder.exists():
                return []
            found = (self.folder / name for name in os.listdir(self.folder))  # noqa: PTH208
            return sorted(
                path
                for path in found
                if path.suffix == SUFFIX and path.name[0] != "." and not is_name(path.stem)
            )

    def entries(self) -> list[Entry]:
        """List every concept, sorted by name; what cannot be used is an entry with a problem."""
        found = (_entry(self._path(name)) for name in self.names())
        return [entry for entry in found if entry is not None]

    def entry(self, name: str) -> Entry:
        """Return the entry of `name`, or raise `ConceptNotFound` with the nearest name."""
        entry = _entry(self._existing(name))
        if entry is None:
            raise self._not_found(name)
        return entry

    def load(self, name: str) -> Archive:
        """Read the archive of `name` with every check made; `ArchiveRefused` if one fails."""
        return _read_named(self._existing(name), name)

    def verify(self, name: str) -> Manifest:
        """Make every check that `load` makes, and return the manifest."""
        return self.load(name).manifest

    def add(self, data: bytes, name: str, replace: bool = False) -> Entry:
        """Keep the archive in `data` as `name`, which its manifest must carry.

        What had that name stays until the new file is on disk and has been read back.
        Raises `NameTaken` unless `replace`, `ArchiveRefused`, `StorageFailed`, `StorageBusy`.
        """
        path = self._path(check_name(name))
        with self._writing(), storage("write", path):
            if path.exists() and not replace:
                raise NameTaken(
                    f"there is a concept called {name!r}",
                    hint="choose another --name, or replace it with --force",
                )
            _write_named(path, data, name)
        return self.entry(name)

    def import_file(self, path: Path, name: str | None = None, replace: bool = False) -> Entry:
        """Verify the archive at `path` and add it, under `name` if one is given."""
        archive = read_archive(path)
        name = archive.manifest.name if name is None else check_name(name)
        return self.add(_pack_as(archive, name), name, replace)

    def export(self, name: str, destination: Path, replace: bool = False) -> Path:
        """Copy the archive of `name`, byte for byte, to a ``.prism`` file or into a folder.

        Raises OptionRefused for the name of another kind of file.
        """
        source = self._existing(name)
        _read_named(source, name)
        with storage("write", destination):
            to_file = destination.suffix.lower() == SUFFIX and not destination.is_dir()
            if destination.suffix and not to_file and not destination.is_dir():
                raise OptionRefused(
                    f"an archive is written as {SUFFIX}, not as {destination.name}",
                    hint=f"use --out {destination.with_suffix(SUFFIX)}, or a folder that is there",
                )
            target = destination if to_file else destination / source.name
            if target.exists() and not replace:
                raise NameTaken(
                    f"{target} exists", hint="choose another file, or replace it with --force"
                )
        with storage("read", source):
            data = source.read_bytes()
        _write_named(target, data, name)
        return target

    def rename(self, old: str, new: str) -> Entry:
        """Call a concept something else. Cut short, it leaves the old name, the new, or both."""
        source, target = self._existing(old), self._path(check_name(new))
        with self._writing(), storage("write", target):
            if target.exists():
                raise NameTaken(f"there is a concept called {new!r}", hint="choose another name")
            _write_named(target, _pack_as(read_archive(source), new), new)
            with storage("remove", source):
                source.unlink()
        return self.entry(new)

    def remove(self, name: str) -> None:
        """Delete the archive of `name`, whatever state it is in."""
        path = self._existing(name)
        with self._writing(), storage("remove", path):
            path.unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        with storage("read", path):
            if is_name(name) and path.is_file():
                return path
        raise self._not_found(name)

    def _not_found(self, name: str) -> ConceptNotFound:
        names = self.names()
        close = nearest(name, names)
        if close is not None:
            hint = f"did you mean {close!r}? `prism list` shows them all"
        elif names:
            hint = "`prism list` shows the concepts there are"
        else:
            hint = "there are none yet: `prism train PHOTOS --name NAME` learns one"
        return ConceptNotFound(f"there is no concept called {name!r}", hint=hint)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock that every writer holds, in a folder free of what a killed one left."""
        with locked(self.folder / LOCK, self.folder):
            with storage("write", self.folder):
                for leftover in self.folder.glob(f".*{SUFFIX}.*{PARTIAL}"):
                    leftover.unlink(missing_ok=True)
            yield


def _is_archive(file: os.DirEntry[str]) -> bool:
    stem = file.name.removesuffix(SUFFIX)
    try:
        return stem != file.name and is_name(stem) and file.is_file()
    except OSError:  # a link that loops, or leads where nobody may look, leads nowhere
        return False


def _entry(path: Path) -> Entry | None:
    """Return the entry of the file at `path`, or None if it has gone since it was seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    manifest, problem = None, None
    try:
        manifest = read_manifest(path)
        _check_named(manifest, path.stem)
    except ArchiveRefused as error:
        problem = error.reason
    except FileMissing:
        return None
    except PrismError as error:
        problem = error.message
    return Entry(
        name=path.stem,
        path=path,
        size=status.st_size,
        modified=datetime.fromtimestamp(status.st_mtime, UTC),
        manifest=manifest,
        problem=problem,
    )


def _check_named(manifest: Manifest, name: str) -> None:
    if manifest.name != name:
        raise NameMismatch(
            f"it holds the concept {manifest.name!r}, not {name!r}",
            hint=f"rename it: `prism rename {name} {manifest.name}`, or NEW if that name is taken",
        )


def _read_named(path: Path, name: str) -> Archive:
    archive = read_archive(path)
    _check_named(archive.manifest, name)
    return archive


def _pack_as(archive: Archive, name: str) -> bytes:
    return pack(dataclasses.replace(archive.manifest, name=name), archive.members)


def _write_named(path: Path, data: bytes, name: str) -> None:
    """Write an archive whole, and read it back before it takes its place at `path`."""

    def check(written: Path) -> None:
        try:
            _read_named(written, name)
        except ArchiveRefused as error:
            raise type(error)(error.reason, error.hint, path=path) from error

    write_whole(path, data, check)
