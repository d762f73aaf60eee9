"""Why an archive is not read: a class per cause, each told apart from damage by what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from prism_cli.errors import Refused

_DAMAGED = "get the file again from where it came, or train the concept again"
_FOREIGN = "prism never writes such a file: ask for one made by `prism export`"


class ArchiveRefused(Refused):
    """A file that prism will not read as a concept.

    reason: the cause without the file's path, for a listing that names the file already.
    """

    remedy: ClassVar[str] = _DAMAGED

    def __init__(self, reason: str, hint: str | None = None, *, path: Path | None = None) -> None:
        message = reason if path is None else f"cannot use {path}: {reason}"
        super().__init__(message, self.remedy if hint is None else hint)
        self.reason = reason


class NotAnArchive(ArchiveRefused):
    """Not a ZIP at all, or one that was cut short or overwritten."""


class BadLayout(ArchiveRefused):
    """Bytes before, between, after or shared by the members."""

    remedy = _FOREIGN


class NewerFormat(ArchiveRefused):
    """Written by a later prism, in a format this one does not know."""

    remedy = "upgrade prism, then run the same command again"


class UnsafeName(ArchiveRefused):
    """A member name that would leave the folder it is unpacked into."""

    remedy = _FOREIGN


class UnknownMember(ArchiveRefused):
    """A member that the format does not have."""

    remedy = _FOREIGN


class NotAFile(ArchiveRefused):
    """A member that is a link, a folder or a device."""

    remedy = _FOREIGN


class DuplicateMember(ArchiveRefused):
    """Two members of one name, or of names that differ in case only."""

    remedy = _FOREIGN


class EncryptedMember(ArchiveRefused):
    """A member behind a password."""

    remedy = _FOREIGN


class CompressedMember(ArchiveRefused):
    """A member that is not stored as it is, and so could be a decompression bomb."""

    remedy = _FOREIGN


class TooLarge(ArchiveRefused):
    """A member, or the ZIP directory, over its cap."""

    remedy = _FOREIGN


class MissingMember(ArchiveRefused):
    """A member that the format needs, or the manifest lists, is not there."""


class UnlistedMember(ArchiveRefused):
    """A member that the manifest does not list."""


class HashMismatch(ArchiveRefused):
    """A member whose size or SHA-256 is not the one in the manifest."""


class ManifestRefused(ArchiveRefused):
    """A manifest that is not JSON, or not a manifest."""


class TensorsRefused(ArchiveRefused):
    """Tensors of wrong names, dtypes or shapes, or a damaged safetensors header."""


class PreviewRefused(ArchiveRefused):
    """A preview that is no PNG, or is too large to show."""


class NameMismatch(ArchiveRefused):
    """The file's name and the name in its manifest differ."""
