"""What goes with a concept, and what stays for the others."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest

from prism_cli import paths
from prism_cli.errors import ConceptNotFound, StorageBusy
from prism_cli.registry.archive import Archive
from prism_cli.registry.store import Registry
from prism_cli.services.evaluation_store import EvaluationStore
from prism_cli.services.forgetting import forget
from prism_cli.services.photo_notes import folder_note, remember_folder
from tests.reports.samples import EVALUATION
from tests.services.concepts import keep


def load(name: str) -> Archive:
    return Registry(paths.concepts_dir()).load(name)


def made_of(name: str) -> tuple[Path, Path]:
    """An evaluation of a concept, and the note of where its photos lay."""
    archive = load(name)
    EvaluationStore.of(archive).keep(EVALUATION)
    hashes = [photo.sha256 for photo in archive.manifest.photos]
    remember_folder(Path("photos"), hashes)
    return EvaluationStore.of(archive).folder, folder_note(hashes)


def test_what_was_made_of_a_concept_goes_with_it() -> None:
    """Another's stays."""
    keep("dog", 1)
    keep("cat", 2, lora=True)
    evaluation, note = made_of("dog")
    other, _ = made_of("cat")

    with pytest.raises(ConceptNotFound):
        forget(["dog", "nobody"])
    assert evaluation.is_dir() and note.is_file()
    forget(["dog"])

    assert Registry(paths.concepts_dir()).names() == ["cat"]
    assert not evaluation.exists() and other.is_dir()


def test_what_is_being_drawn_is_not_deleted() -> None:
    """Nor is the concept, nor another that was named with it, until that has ended."""
    keep("dog", 1)
    keep("cat", 2)
    evaluation, _ = made_of("dog")
    other, _ = made_of("cat")
    drawing = evaluation / "drawn-1"
    drawing.mkdir()

    for names in (["cat", "dog"], ["dog", "cat"]):
        with EvaluationStore(evaluation).held(drawing), pytest.raises(StorageBusy):
            forget(names)
        assert Registry(paths.concepts_dir()).names() == ["cat", "dog"]
        assert drawing.is_dir() and other.is_dir()

    store = EvaluationStore(evaluation)
    for earlier, later in pairwise(evaluation / f"drawn-{k}" for k in "123"):
        with store.held(earlier), store.held(later):
            named = dataclasses.replace(
                EVALUATION.prompts[0], pictures=(f"{later.name}/concept-00-0.png",)
            )
            store.replace(dataclasses.replace(EVALUATION, prompts=(named,)), later)
    forget(["dog", "cat"])
    assert not any(each.name != ".lock" for each in paths.evaluations_dir().rglob("*"))


def test_what_two_have_in_common_goes_with_the_last() -> None:
    """The same tensors under two names."""
    keep("dog", 1)
    registry = Registry(paths.concepts_dir())
    registry.import_file(registry.entry("dog").path, "rex")
    evaluation, note = made_of("dog")

    forget(["dog"])
    assert evaluation.is_dir() and note.is_file()
    forget(["rex"])
    assert not evaluation.exists() and not note.exists()


def test_a_damaged_archive_goes_too() -> None:
    keep("dog", 1)
    Registry(paths.concepts_dir()).entry("dog").path.write_bytes(b"nothing")

    forget(["dog"])

    assert Registry(paths.concepts_dir()).names() == []
