"""The ZIP around a concept: stored members end to end, nothing else, nothing hidden.

`zipfile` reads the directory; what it would believe without asking is checked before and after.
Nothing is ever extracted to disk.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from prism_cli.errors import FileMissing, storage
from prism_cli.registry.manifest import MAX_BYTES
from prism_cli.registry.refusals import (
    ArchiveRefused,
    BadLayout,
    CompressedMember,
    DuplicateMember,
    EncryptedMember,
    MissingMember,
    NotAFile,
    NotAnArchive,
    TooLarge,
    UnknownMember,
    UnsafeName,
)

MANIFEST = "manifest.json"
TOKENS = "tokens.safetensors"
RESIDUALS = "residuals.safetensors"
LORA = "lora.safetensors"
PREVIEW = "preview.png"

# The members in their order, and the most bytes of each.
CAPS: Mapping[str, int] = {
    MANIFEST: MAX_BYTES,
    TOKENS: 64 * 2**20,
    RESIDUALS: 256 * 2**20,
    LORA: 4 * 2**30,
    PREVIEW: 16 * 2**20,
}

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP can express
_UNIX = 3
_MODE = stat.S_IFREG | 0o644

# Sizes and signatures from PKWARE's APPNOTE 6.3.
_DIRECTORY_CAP = 64 * 2**10  # five entries take under 1 KiB
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # signature, .., name length, extra length
_END = struct.Struct("<4s4H2LH")  # signature, .., directory size, directory offset, comment length
_END_64 = struct.Struct("<4sQ2H2L4Q")  # signature, .., directory size, directory offset
_END_64_LOCATOR = 20
_ENCRYPTED = 0x0001 | 0x0040  # traditional, strong
_DOS_FOLDER = 0x10


@dataclass(frozen=True, slots=True)
class Container:
    """An open archive whose directory has passed, or is still to pass, `check_directory`."""

    zip: zipfile.ZipFile
    file: BinaryIO

    def member(self, name: str) -> zipfile.ZipInfo:
        """Find the only member of that name."""
        found = [info for info in self.zip.infolist() if info.orig_filename == name]
        if not found:
            raise MissingMember(f"it has no {name}")
        if len(found) > 1:
            raise DuplicateMember(f"it has {name} {len(found)} times")
        return found[0]

    def read(self, name: str) -> bytes:
        """Read the member's bytes, counted against what the directory says and its cap."""
        info = self.member(name)
        check_member(info)
        with _zip_damage(), self.zip.open(info) as stream:
            data = stream.read(info.file_size + 1)
        if len(data) != info.file_size:
            raise NotAnArchive(f"{name} is {len(data)} bytes, not {info.file_size}")
        return data


@contextmanager
def opened(path: Path) -> Iterator[Container]:
    """Open the ZIP at `path`; an `ArchiveRefused` from inside the block is told of that path."""
    try:
        with storage("read", path):
            if not path.exists():
                raise FileMissing(f"there is no file {path}", hint="check the path")
            if not path.is_file():  # opening a pipe would wait for its other end
                raise NotAnArchive("it is not a regular file")
            with path.open("rb") as file:
                _check_end(file)
                with _zip_damage():
                    archive = zipfile.ZipFile(file)
                with archive:
                    yield Container(archive, file)
    except ArchiveRefused as error:
        raise type(error)(error.reason, error.hint, path=path) from error


@contextmanager
def _zip_damage() -> Iterator[None]:
    """Turn what `zipfile` raises on bad input, which it promises nobody, into a refusal."""
    try:
        yield
    except (zipfile.BadZipFile, ValueError, struct.error, EOFError, RuntimeError) as error:
        raise NotAnArchive(f"its ZIP structure is damaged ({error})") from error


def write(members: Mapping[str, bytes]) -> bytes:
    """Return a ZIP of `members`, whose bytes depend on nothing but their content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in CAPS:
            if name in members:
                info = zipfile.ZipInfo(name, _TIMESTAMP)
                info.create_system = _UNIX
                info.external_attr = _MODE << 16
                archive.writestr(info, members[name])
    return buffer.getvalue()


def check_directory(container: Container) -> set[str]:
    """Check every member's name and kind, and that members lie end to end; returns their names."""
    infos = container.zip.infolist()
    seen: set[str] = set()
    for info in infos:
        name = info.orig_filename
        _check_path(name)
        if name.casefold() in seen:
            raise DuplicateMember(f"it has two members called {name!r}, capitals aside")
        seen.add(name.casefold())
    for info in infos:
        if info.orig_filename not in CAPS:
            raise UnknownMember(f"{info.orig_filename!r} is not a member of the format")
        check_member(info)
    _check_layout(container, infos)
    return seen


def check_member(info: zipfile.ZipInfo) -> None:
    """Check that a member is a regular file, plain, stored, and under its cap."""
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or info.external_attr & _DOS_FOLDER:
        raise NotAFile(f"{name} is a link, a folder or a device, not a file")
    if info.flag_bits & _ENCRYPTED:
        raise EncryptedMember(f"{name} is encrypted")
    if info.compress_type != zipfile.ZIP_STORED:
        raise CompressedMember(f"{name} is compressed, and members are stored as they are")
    if info.file_size > CAPS[name]:
        raise TooLarge(f"{name} is {info.file_size} bytes, and {CAPS[name]} is the most allowed")
    if info.header_offset < 0:
        raise NotAnArchive("its beginning is cut off")
    if info.compress_size != info.file_size:
        raise NotAnArchive(f"{name} is stored in {info.compress_size} bytes, not {info.file_size}")


def _check_path(name: str) -> None:
    """Check that a name stays in its folder, on every operating system."""
    parts = re.split(r"[/\\]", name)
    if "\0" in name or "\\" in name or ".." in parts or parts[0] == "" or ":" in name:
        raise UnsafeName(f"{name!r} would be written outside the folder it is unpacked into")


def _check_end(file: BinaryIO) -> None:
    """Check that the file ends in a ZIP's last record, and that the directory is small.

    `zipfile` would search for that record, and read a directory of any size into memory.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _END_64_LOCATOR - _END_64.size))
    tail = file.read()
    end = tail[-_END.size :]
    if b"PK\5\6" not in tail or len(end) < _END.size:
        raise NotAnArchive("it is not a .prism archive, or it was cut short")
    if not end.startswith(b"PK\5\6") or not end.endswith(b"\0\0"):
        raise BadLayout("there is something after its end")
    directory_size = _END.unpack(end)[5]
    if tail[_END_64.size :].startswith(b"PK\6\7"):
        directory_size = max(directory_size, _END_64.unpack_from(tail)[8])
    if directory_size > _DIRECTORY_CAP:
        raise TooLarge(f"its directory is {directory_size} bytes, over {_DIRECTORY_CAP}")


def _check_layout(container: Container, infos: list[zipfile.ZipInfo]) -> None:
    """Check that the members fill the file up to its directory, without gaps.

    What one reader skips as a gap another reads as content; overlaps are how bombs are made.
    From the directory to the end `zipfile` itself leaves no room, for it measures from the end.
    """
    position = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = info.orig_filename
        if info.header_offset != position:
            raise BadLayout(f"there is something before {name}, or {name} overlaps another member")
        container.file.seek(position)
        header = container.file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size:
            raise NotAnArchive(f"{name} is cut short")
        _, _, flags, method, *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if (flags, method) != (info.flag_bits, info.compress_type):
            raise BadLayout(f"{name} is described in two ways that differ")
        position += _LOCAL_HEADER.size + name_length + extra_length + info.file_size
    if position != container.zip.start_dir:
        raise BadLayout("there is something between its last member and its directory")
