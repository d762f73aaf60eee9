"""One concept as one file: packed to the same bytes for the same content, read with every check."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prism_cli.registry import container
from prism_cli.registry.container import CAPS, MANIFEST, TOKENS, Container
from prism_cli.registry.contents import check_contents
from prism_cli.registry.manifest import Manifest, MemberRecord, from_document, read_document
from prism_cli.registry.refusals import (
    HashMismatch,
    MissingMember,
    TooLarge,
    UnknownMember,
    UnlistedMember,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A concept that passed every check. members: name -> bytes, without the manifest."""

    manifest: Manifest
    members: Mapping[str, bytes]


def pack(manifest: Manifest, members: Mapping[str, bytes]) -> bytes:
    """Return the archive of `manifest` and `members`, with ``manifest.members`` filled in.

    The same content gives the same bytes, on every machine and in any order of `members`.
    Raises `ArchiveRefused` where `read_archive` would not take it back.
    """
    for name, data in members.items():
        if name not in CAPS or name == MANIFEST:
            raise UnknownMember(f"{name!r} is not a member of the format")
        if len(data) > CAPS[name]:
            raise TooLarge(f"{name} is {len(data)} bytes, and {CAPS[name]} is the most allowed")
    if TOKENS not in members:
        raise MissingMember(f"it has no {TOKENS}")
    records = {
        name: MemberRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        for name, data in members.items()
    }
    text = dataclasses.replace(manifest, members=records).to_json()
    check_contents(Manifest.from_json(text), members)
    return container.write({MANIFEST: text, **members})


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of the archive at `path`, for a listing.

    The directory and the manifest are checked; the other members are not read.
    Raises `FileMissing`, `StorageFailed`, or an `ArchiveRefused` that says why.
    """
    with container.opened(path) as archive:
        return _checked_manifest(archive)


def read_archive(path: Path) -> Archive:
    """Read the whole archive at `path` with every check made. Raises as `read_manifest` does."""
    with container.opened(path) as archive:
        manifest = _checked_manifest(archive)
        members = {name: archive.read(name) for name in CAPS if name in manifest.members}
        for name, data in members.items():
            if hashlib.sha256(data).hexdigest() != manifest.members[name].sha256:
                raise HashMismatch(f"{name} is not the one that the manifest lists")
        check_contents(manifest, members)
        return Archive(manifest=manifest, members=members)


def _checked_manifest(archive: Container) -> Manifest:
    """Check the format number first: a newer format may have members unknown to this one."""
    document = read_document(archive.read(MANIFEST))
    names = container.check_directory(archive) - {MANIFEST}
    manifest = from_document(document)
    listed = manifest.members.keys()
    for name in sorted(names - listed):
        raise UnlistedMember(f"the manifest does not list {name}")
    for name in sorted((listed | {TOKENS}) - names):
        raise MissingMember(f"it has no member {name!r}")
    for name, record in manifest.members.items():
        size = archive.member(name).file_size
        if size != record.size:
            raise HashMismatch(f"{name} is {size} bytes, and the manifest lists {record.size}")
    return manifest
