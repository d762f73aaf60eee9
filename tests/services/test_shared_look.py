"""Photos of different things that share a look: what the base reads of it starts the target."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.registry.store import Registry
from prism_cli.runtime import detect
from prism_cli.services.ablation_study import AblateRequest, Study
from prism_cli.services.caption import Captioned, caption_photos
from prism_cli.services.caption_folder import CaptionRequest, caption_folder
from prism_cli.services.concept_archive import unpack_tokens
from prism_cli.services.events import Event, Note
from prism_cli.services.generate import DrawRequest, generate
from prism_cli.services.photos import take_in
from prism_cli.services.prepare import Prepared, TrainRequest, prepare
from prism_cli.services.train import train
from prism_cli.settings import CaptionOptions

THINGS = ("dog", "guitar", "owl", "fish")
ONE_STEP = {"tokens.steps": 1, "tokens.lr": 1e-3, "tokens.ema_decay": 0.0, "finetuning.steps": 0}


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four golden things, drawn by the base."""
    folder = tmp_path_factory.mktemp("golden")
    for seed, thing in enumerate(THINGS):
        request = DrawRequest(
            prompt=f"a golden {thing} on a blue background",
            count=1,
            seed=seed,
            steps=15,
            out=folder / f"{thing}.png",
            base="mini",
        )
        generate(request)
    return folder


def captioned(folder: Path) -> Captioned:
    entry = catalog.resolve("mini")
    photos = take_in(folder, size=entry.size).photos
    return caption_photos(photos, folder, CaptionOptions(source="auto"), entry)


def prepared(
    folder: Path, class_word: str | None = None, kind: str = "subject"
) -> tuple[Prepared, list[Event]]:
    events: list[Event] = []
    request = TrainRequest(
        folder=folder, base="mini", name="gilded", class_word=class_word, kind=kind
    )
    return prepare(request, events.append), events


def test_it_is_read_from_all_photos_or_none(golden: Path) -> None:
    """No caption says it; where a person described one of the photos, the others are not all."""
    read = captioned(golden)
    assert read.shared == "golden"
    assert not any("golden" in caption.text for caption in read.captions)

    words = golden / "owl.txt"
    words.write_text("an owl on blue", "utf-8")
    try:
        assert captioned(golden).shared == ""
    finally:
        words.unlink()


def test_who_trains_is_told(golden: Path) -> None:
    """And what they say instead wins, and is another training."""
    read, events = prepared(golden)
    said = [event.text for event in events if isinstance(event, Note)]
    assert read.start == "golden"
    assert "the target starts as 'golden', which the photos share" in said

    told, events = prepared(golden, "brass")
    assert told.start == "brass" and told.fingerprint != read.fingerprint
    assert not any("starts as" in event.text for event in events if isinstance(event, Note))

    assert prepared(golden, "")[0].start is None  # at random

    style, events = prepared(golden, kind="style")
    assert style.start is None
    assert not any("starts as" in event.text for event in events if isinstance(event, Note))


def test_who_writes_captions_is_told_what_their_files_leave_out(
    golden: Path, tmp_path: Path
) -> None:
    """In what training starts, or which option it takes where the captions are in files."""
    folder = tmp_path / "photos"
    shutil.copytree(golden, folder)

    def said(**options: bool) -> list[str]:
        events: list[Event] = []
        caption_folder(CaptionRequest(folder=folder, base="mini", **options), events.append)
        return [e.text for e in events if isinstance(e, Note) and "'golden'" in e.text]

    (read,) = said()
    assert read.endswith("a subject's target starts as it")
    (written,) = said(write=True)
    assert written.endswith("to train a subject from these files, add --class 'golden'")
    assert captioned(folder).shared == "" and said() == []
    (anew,) = said(force=True)
    assert anew.endswith("without caption files a subject's target starts as it")


def test_an_ablation_tells_it_of_every_folder(golden: Path, tmp_path: Path) -> None:
    """And its cells are others than those of targets that start at random, all else alike."""
    plain = tmp_path / "plain"
    shutil.copytree(golden, plain)
    captions = captioned(golden).captions
    for photo, caption in zip(sorted(plain.glob("*.png")), captions, strict=True):
        photo.with_suffix(".txt").write_text(caption.text, "utf-8")
    said: list[Event] = []
    request = AblateRequest(folders=(plain, golden), lengths=(1,), betas=())

    study = Study.of(request, said.append, rehearsal=True)

    starts = [each.text for each in said if isinstance(each, Note) and "starts as" in each.text]
    assert starts == [f"{golden}: the target starts as 'golden'"]
    (first, second) = study.plan(()).cells
    assert (study.training_of(first).start, study.training_of(second).start) == (None, "golden")
    assert len({*study.protocols.values()}) == 2


def test_the_target_starts_as_it(golden: Path) -> None:
    """One step from the word's own rows, and the archive says which word."""
    train(TrainRequest(folder=golden, base="mini", name="gilded", flags=ONE_STEP))
    archive = Registry(paths.concepts_dir()).load("gilded")

    base = catalog.load(catalog.resolve("mini"), detect())
    for encoder, rows in unpack_tokens(archive).target.items():
        assert torch.allclose(rows, base.word_rows("golden")[encoder].float(), atol=2e-3)
    options = archive.manifest.options
    assert (options["start"].value, options["start"].source) == ("golden", "default")
    assert options["class"].value is None
