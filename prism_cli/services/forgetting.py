"""`prism rm`: a concept goes, and with it what was made of it and noted about it."""

from __future__ import annotations

import shutil
from collections.abc import Collection

from prism_cli import paths
from prism_cli.errors import storage
from prism_cli.registry.manifest import Manifest
from prism_cli.registry.store import Registry
from prism_cli.services.references import folder_note


def forget(names: Collection[str]) -> None:
    """Delete concepts of the registry, their evaluations, and the notes of where their photos lay.

    What a concept that stays has in common with them stays too. Raises ConceptNotFound before the
    first one goes, StorageFailed.
    """
    registry = Registry(paths.concepts_dir())
    entries = [registry.entry(name) for name in names]
    gone = [entry.manifest for entry in entries if entry.manifest]
    for name in names:
        registry.remove(name)
    left = [entry.manifest for entry in registry.entries() if entry.manifest]
    for learned in {each.learned for each in gone} - {each.learned for each in left}:
        folder = paths.evaluations_dir() / learned
        with storage("delete", folder):
            if folder.is_dir():
                shutil.rmtree(folder)
    for hashes in set(map(_photos, gone)) - set(map(_photos, left)):
        note = folder_note(hashes)
        with storage("delete", note):
            note.unlink(missing_ok=True)


def _photos(manifest: Manifest) -> tuple[str, ...]:
    return tuple(photo.sha256 for photo in manifest.photos)
