"""Where the photos of trainings lay on this machine: no archive says it, and no photo is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from prism_cli import paths
from prism_cli.errors import storage
from prism_cli.files import write_whole
from prism_cli.registry.manifest import Manifest


def remember_folder(folder: Path, hashes: Sequence[str]) -> None:
    """Note on this machine where photos of these SHA-256 lie."""
    path = os.path.abspath(folder)  # noqa: PTH100 (Path.resolve raises where a link loops)
    write_whole(folder_note(hashes), f"{path}\n".encode("utf-8", "surrogateescape"))


def remembered_folder(manifest: Manifest) -> Path | None:
    """Where a concept's photos were when it was learned on this machine, if that is still there."""
    note = folder_note([photo.sha256 for photo in manifest.photos])
    with storage("read", note):
        if not note.is_file():
            return None
        text = note.read_bytes().decode("utf-8", "surrogateescape").strip()
    return Path(text) if text and Path(text).is_dir() else None


def folder_note(hashes: Sequence[str]) -> Path:
    """The file that says where photos of these SHA-256 lay, there or not."""
    return paths.photos_dir() / hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]
