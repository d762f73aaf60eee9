"""`prism rm`: a concept goes, and with it what was made of it and noted about it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack

from prism_cli import paths
from prism_cli.errors import storage
from prism_cli.registry.manifest import Manifest
from prism_cli.registry.store import Registry
from prism_cli.services.evaluation_store import EvaluationStore
from prism_cli.services.photo_notes import folder_note


def forget(names: Collection[str]) -> None:
    """Delete concepts of the registry, their evaluations, and the notes of where their photos lay.

    What a concept that stays has in common with them stays too. Raises, before anything goes,
    ConceptNotFound, and StorageBusy where one is being evaluated; StorageFailed.
    """
    registry = Registry(paths.concepts_dir())
    gone = [entry.manifest for name in names if (entry := registry.entry(name)).manifest]
    left = [
        each.manifest for each in registry.entries() if each.manifest and each.name not in names
    ]
    stores = [
        EvaluationStore(paths.evaluations_dir() / learned)
        for learned in {each.learned for each in gone} - {each.learned for each in left}
    ]
    with ExitStack() as stack:
        for store in stores:
            stack.enter_context(store.idle())
        for store in stores:  # first: without their concept nothing would lead to them
            store.remove()
        for name in names:
            registry.remove(name)
    for hashes in set(map(_photos, gone)) - set(map(_photos, left)):
        note = folder_note(hashes)
        with storage("delete", note):
            note.unlink(missing_ok=True)


def _photos(manifest: Manifest) -> tuple[str, ...]:
    return tuple(photo.sha256 for photo in manifest.photos)
