"""`prism train`: from photos to an archive, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from prism_cli import files, paths
from prism_cli.backbones import catalog
from prism_cli.backbones.base import Conditioning, Prompt, Rows
from prism_cli.backbones.unet import UNetBackbone
from prism_cli.errors import (
    BaseNotFound,
    CaptionRefused,
    DiskFull,
    InvalidName,
    NameTaken,
    OptionRefused,
    PhotosRefused,
    PrismError,
    StorageBusy,
    StorageFailed,
)
from prism_cli.method.composition import factors_of
from prism_cli.registry.archive import Archive, read_archive, read_manifest
from prism_cli.registry.manifest import Manifest, OptionValue
from prism_cli.registry.refusals import ArchiveRefused
from prism_cli.registry.store import Registry
from prism_cli.services import checkpoint, training_run
from prism_cli.services import train as module
from prism_cli.services.concept_archive import unpack_lora, unpack_tokens
from prism_cli.services.events import Event, Note, StageMoved, ignore
from prism_cli.services.prepare import Prepared, TrainRequest, prepare
from prism_cli.services.train import TrainResult, train
from tests.registry.samples import concept
from tests.tiny_pipeline import save_tiny_pipeline

EXAMPLES = Path(__file__).parents[2] / "examples" / "zuzu"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
QUICK = {
    "tokens.steps": 3,
    "tokens.batch": 2,
    "finetuning.steps": 3,
    "finetuning.rank": 2,
    "drawing.steps": 2,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("bases") / "tiny")


def make_photos(folder: Path) -> Path:
    """Three photos, two of them with captions."""
    folder.mkdir()
    for number in (1, 2, 3):
        with Image.open(EXAMPLES / f"{number:02}.png") as picture:
            picture.resize((32, 32)).save(folder / f"{number:02}.png")
    (folder / "01.txt").write_text("a red dog on  snow\n", "utf-8")
    (folder / "02.txt").write_text("a cat at night", "utf-8")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


@pytest.fixture
def learn(photos: Path, tiny: Path) -> Callable[..., TrainResult]:
    """Train on the photos with a tiny base; settings are flags, the rest options."""

    def learn(
        flags: dict[str, Any] | None = None,
        on_event: Callable[[Event], None] = ignore,
        **options: Any,
    ) -> TrainResult:
        given = {"folder": photos, "name": "zuzu", "base": str(tiny), **options}
        return train(TrainRequest(**given, flags=QUICK | (flags or {})), on_event, NOON)

    return learn


class Learned(NamedTuple):
    """A training that several tests look at."""

    photos: Path
    result: TrainResult
    data: bytes


def learn_once(place: Path, base: Path, **options: Any) -> Learned:
    """Train in a registry that no test uses."""
    photos = make_photos(place / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRISM_HOME", str(place / "home"))
        request = TrainRequest(**{"folder": photos, "name": "zuzu", "base": str(base), **options})
        result = train(request, now=NOON)
    return Learned(photos, result, result.path.read_bytes())


@pytest.fixture(scope="module")
def plain(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """What `learn` without a word makes."""
    return learn_once(tmp_path_factory.mktemp("plain"), tiny, flags=QUICK)


@pytest.fixture(scope="module")
def varied(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Options from everywhere."""
    return learn_once(
        tmp_path_factory.mktemp("varied"),
        tiny,
        crop="random",
        flags=QUICK | {"tokens.beta": 0.2},
        file={"tokens.lr": 0.01, "tokens.beta": 0.9},
    )


@pytest.fixture
def old() -> bytes:
    """A concept "zuzu" that is in the registry already."""
    data = concept("zuzu")
    Registry(paths.concepts_dir()).add(data, "zuzu")
    return data


def kept(name: str = "zuzu") -> Archive:
    return Registry(paths.concepts_dir()).load(name)


def data(name: str = "zuzu") -> bytes:
    return (paths.concepts_dir() / f"{name}.prism").read_bytes()


def manifest_of(learned: Learned) -> Manifest:
    return read_manifest(learned.result.path)


class _Stopped(BaseException):
    """What Ctrl-C is to a training."""


def stopped_at(stage: str, step: int) -> Callable[[Event], None]:
    def on_event(event: Event) -> None:
        if isinstance(event, StageMoved) and (event.stage, event.step) == (stage, step):
            raise _Stopped

    return on_event


def fail(*args: object, **kwargs: object) -> None:
    raise AssertionError("the base was loaded")


class TestTheSameAgain:
    """A training is a function of its request and its clock."""

    def test_the_same_request_gives_the_same_bytes(self, learn, plain: Learned) -> None:
        """Trained twice with one seed and one clock, the archives are equal to the byte."""
        learn()

        assert data() == plain.data

    def test_concepts_of_one_seed_start_apart(self, learn, plain: Learned, tmp_path) -> None:
        """Factors that began as one draw would stay alike, and add up where two concepts meet."""
        others = make_photos(tmp_path / "others")
        (others / "03.png").unlink()
        (tmp_path / "plain.prism").write_bytes(plain.data)

        learn(folder=others)

        one, other = (
            factors_of(unpack_lora(archive))
            for archive in (read_archive(tmp_path / "plain.prism"), kept())
        )
        cosines = [
            torch.cosine_similarity(one[layer].A.flatten(), other[layer].A.flatten(), dim=0)
            for layer in one
        ]
        assert torch.stack(cosines).mean().abs() < 0.2  # at one draw 0.99

    def test_another_seed_gives_another_concept(self, learn, plain: Learned, tmp_path) -> None:
        """And the seed is in the archive."""
        (tmp_path / "plain.prism").write_bytes(plain.data)

        learn(seed=1)

        assert kept().manifest.seed == 1
        for member, content in read_archive(tmp_path / "plain.prism").members.items():
            assert kept().members[member] != content

    @pytest.mark.parametrize(("stage", "step"), [("tokens", 3), ("lora", 2), ("preview", 1)])
    def test_a_stopped_training_ends_in_the_same_bytes(
        self, learn, plain: Learned, stage: str, step: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stopped anywhere and called again, it makes the archive that it would have made."""
        monkeypatch.setattr(training_run, "CHECKPOINT_SECONDS", -1.0)
        monkeypatch.setattr(training_run, "CHECKPOINT_SHARE", 0)
        with pytest.raises(_Stopped):
            learn(on_event=stopped_at(stage, step))
        assert Registry(paths.concepts_dir()).names() == []
        events: list[Event] = []

        learn(on_event=events.append)

        assert data() == plain.data
        assert any(isinstance(e, Note) and "going on" in e.text for e in events)

    def test_a_changed_request_starts_over(self, learn) -> None:
        """The checkpoint of one seed is not gone on from with another."""
        with pytest.raises(_Stopped):
            learn(on_event=stopped_at("lora", 2))
        events: list[Event] = []

        learn(seed=1, on_event=events.append)

        assert not any(isinstance(e, Note) and "going on" in e.text for e in events)
        steps = [e.step for e in events if isinstance(e, StageMoved) and e.stage == "tokens"]
        assert steps == [1, 2, 3]

    def test_nothing_unfinished_is_left(self, learn) -> None:
        """A training takes its checkpoint with it, and of other seeds what is long abandoned."""
        for seed in (1, 2):
            with pytest.raises(_Stopped):
                learn(seed=seed, on_event=stopped_at("tokens", 2))
        first, second = sorted(paths.unfinished_dir().iterdir())
        killed = first.with_name(f".{first.name}.lock")
        killed.touch()
        for abandoned in (first, killed):
            os.utime(abandoned, (0, 0))

        with checkpoint.alone(first):
            learn()
            assert {first, second} < {*paths.unfinished_dir().iterdir()}  # however old it is
        learn(force=True)

        assert list(paths.unfinished_dir().iterdir()) == [second]  # its training may still run

    def test_one_process_at_a_time(self, learn, plain: Learned) -> None:
        """The second is refused before a base is loaded; the first goes on."""

        def again(event: Event) -> None:
            if isinstance(event, StageMoved) and (event.stage, event.step) == ("tokens", 2):
                with pytest.raises(StorageBusy, match="another prism is learning 'zuzu'"):
                    learn()

        learn(on_event=again)

        assert data() == plain.data


class TestTheRegistry:
    """What was there stays until the new is verified."""

    def test_a_taken_name_is_refused_before_anything_is_loaded(
        self, learn, old: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No photo is read and no base loaded for a name that cannot be given."""
        monkeypatch.setattr(catalog, "load", fail)
        monkeypatch.setattr("prism_cli.services.prepare.take_in", fail)

        with pytest.raises(NameTaken, match="'zuzu'") as caught:
            learn()

        assert "--force" in caught.value.hint
        assert data() == old

    def test_a_note_that_cannot_be_written_costs_no_training(self, learn) -> None:
        """Nothing is kept, and the same command goes on from the checkpoint."""
        paths.photos_dir().parent.mkdir(parents=True, exist_ok=True)
        paths.photos_dir().touch()

        with pytest.raises(StorageFailed):
            learn()
        assert Registry(paths.concepts_dir()).names() == []
        paths.photos_dir().unlink()
        events: list[Event] = []
        learn(on_event=events.append)

        assert any(isinstance(e, Note) and "going on" in e.text for e in events)
        assert Registry(paths.concepts_dir()).names() == ["zuzu"]

    def test_a_name_that_is_taken_meanwhile_costs_no_training(self, learn, plain: Learned) -> None:
        """The hint keeps what was learned: with the other one renamed, it is kept at once."""

        def take(event: Event) -> None:
            if isinstance(event, StageMoved) and event.stage == "preview":
                Registry(paths.concepts_dir()).add(concept("zuzu"), "zuzu", replace=True)

        with pytest.raises(NameTaken, match="while this one was learned") as caught:
            learn(on_event=take)
        assert caught.value.hint.startswith("prism rename zuzu NEW")
        Registry(paths.concepts_dir()).rename("zuzu", "other")
        events: list[Event] = []

        learn(on_event=events.append)

        assert data() == plain.data
        assert any(isinstance(e, Note) and "going on" in e.text for e in events)

    def test_force_replaces_it(self, learn, old: bytes, plain: Learned) -> None:
        """--force trains under the same name, and nothing of the old concept stays."""
        learn(force=True)

        assert data() == plain.data

    def test_an_archive_that_is_not_read_back_replaces_nothing(
        self, learn, old: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The new one is verified beside the old one, which stays when that fails."""
        pack = module.pack_concept
        monkeypatch.setattr(module, "pack_concept", lambda *args: pack(*args)[:-1])

        with pytest.raises(ArchiveRefused):
            learn(force=True)

        assert data() == old
        assert {p.name for p in paths.concepts_dir().iterdir()} <= {"zuzu.prism", ".lock"}

    def test_a_full_disk_keeps_the_old_one_and_what_was_learned(
        self, learn, old: bytes, plain: Learned, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With room made, the same command goes on from the end of its training."""
        fsync = files.os.fsync

        def full(descriptor: int) -> None:
            if any(paths.concepts_dir().glob(".zuzu.prism.*")):
                raise OSError(28, "No space left on device")
            fsync(descriptor)

        monkeypatch.setattr(files.os, "fsync", full)
        with pytest.raises(DiskFull):
            learn(force=True)
        assert data() == old
        monkeypatch.setattr(files.os, "fsync", fsync)
        events: list[Event] = []

        learn(force=True, on_event=events.append)

        assert data() == plain.data
        assert any(isinstance(e, Note) and "going on" in e.text for e in events)

    def test_the_name_is_the_folders_unless_one_is_given(self, learn) -> None:
        """A folder called "photos" gives a concept called so."""
        assert learn(name=None).name == "photos"

    def test_a_base_in_a_folder_is_found_again(self, learn, tiny: Path) -> None:
        """The archive names no path; where the base lies is noted on this machine alone."""
        learn()
        base = kept().manifest.base

        assert catalog.resolve_trained(base.id, base.revision).folder == tiny
        assert str(tiny.parent).encode() not in data()


class TestRefusals:
    """What is checked before a weight is loaded."""

    @pytest.fixture(autouse=True)
    def _nothing_is_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(catalog, "load", fail)

    @pytest.mark.parametrize(
        ("error", "options"),
        [
            (InvalidName, {"name": "My Dog"}),
            (InvalidName, {"name": ""}),
            (BaseNotFound, {"base": "sd99"}),
            (OptionRefused, {"flags": {"tokens.lr": 2.0}}),
            (OptionRefused, {"file": {"tokens.leng": 2}}),
        ],
    )
    def test_a_request_that_cannot_be_met_is_refused(
        self, learn, error: type[PrismError], options: dict[str, Any]
    ) -> None:
        """Each with its own error and a way out."""
        with pytest.raises(error) as caught:
            learn(**options)

        assert caught.value.hint

    def test_one_photo_is_refused(self, learn, photos: Path) -> None:
        """Exclusion needs another photo."""
        for name in ("02.png", "03.png"):
            (photos / name).unlink()

        with pytest.raises(PhotosRefused, match="at least 2 are needed"):
            learn()

    def test_a_caption_that_is_no_text_is_refused(self, learn, photos: Path) -> None:
        """A photo.txt that cannot be read is not silently no caption."""
        (photos / "01.txt").write_bytes(b"\xff\xfe\x00d")

        with pytest.raises(CaptionRefused, match=r"01\.txt"):
            learn()


def test_one_photo_is_enough_without_exclusion(learn, photos: Path) -> None:
    """--beta 0 learns from a single photo."""
    for name in ("02.png", "03.png"):
        (photos / name).unlink()

    result = learn({"tokens.beta": 0.0})

    assert result.photos_used == 1
    assert len(unpack_tokens(kept()).residuals) == 1


class TestTheArchive:
    """What is kept of a training, and what is not."""

    def test_captions_are_recorded_with_their_source(self, varied: Learned) -> None:
        """From the text beside the photo, on one line; or that there was none."""
        records = [(p.caption, p.caption_source) for p in manifest_of(varied).photos]

        assert records == [
            ("a red dog on snow", "sidecar"),
            ("a cat at night", "sidecar"),
            ("a photo", "none"),
        ]

    def test_photos_are_recorded_by_their_digest(self, varied: Learned) -> None:
        """The SHA-256 of each file, in the files' order."""
        files = sorted(varied.photos.glob("*.png"))

        digests = [photo.sha256 for photo in manifest_of(varied).photos]

        assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]

    def test_every_option_is_recorded_with_its_source(self, varied: Learned) -> None:
        """flag, file or default, for the settings and for what is done with photos."""
        options = manifest_of(varied).options

        recorded = {name: (option.value, option.source) for name, option in options.items()}

        assert recorded["tokens.beta"] == (0.2, "flag")
        assert recorded["tokens.lr"] == (0.01, "file")
        assert recorded["tokens.anchors"] == (3, "default")
        assert recorded["crop"] == ("random", "flag")
        assert recorded["crops"] == (4, "default")
        assert recorded["class"] == (None, "default")

    @pytest.mark.parametrize(
        ("kind", "template"),
        [("subject", "* with {}"), ("style", "* picture of {}"), ("action", "* with {}")],
    )
    def test_a_style_is_learned_in_the_words_it_is_asked_for(
        self, learn, monkeypatch: pytest.MonkeyPatch, kind: str, template: str
    ) -> None:
        """Both stages encode them, and the archive says so for those who draw both together."""
        encoded: set[str] = set()
        encode = UNetBackbone.encode_text

        def record(self: UNetBackbone, prompts: Sequence[Prompt], rows: Rows) -> Conditioning:
            for prompt in prompts:
                pieces = [each if isinstance(each, str) else f"<{each.part}>" for each in prompt]
                encoded.add("".join(pieces))
            return encode(self, prompts, rows)

        monkeypatch.setattr(UNetBackbone, "encode_text", record)

        learn(kind=kind, base="mini")

        together = template.replace("*", "<target>")
        assert {text for text in encoded if "<target>" in text and "<residual" in text} == {
            together.format(f"<residual.{i}>") for i in range(3)
        }
        assert kept().manifest.options["template"].value == template
        assert unpack_tokens(kept()).template == template

    @pytest.mark.parametrize("written", [None, "a photo", "* and *", "{}", 3])
    def test_what_is_no_template_is_the_papers(
        self, plain: Learned, written: str | int | None
    ) -> None:
        """An archive of before templates, or of another program."""
        manifest = manifest_of(plain)
        options = dict(manifest.options)
        del options["template"]
        if written is not None:
            options["template"] = OptionValue(value=written, source="default")
        members = read_archive(plain.result.path).members

        tokens = unpack_tokens(
            Archive(manifest=replace(manifest, options=options), members=members)
        )

        assert tokens.template == "* with {}"

    def test_how_each_stage_went_is_recorded(self, varied: Learned) -> None:
        """Steps, what ended it, and its deterministic loss at both ends."""
        metrics = manifest_of(varied).metrics

        for stage in ("tokens", "lora"):
            assert (metrics[f"{stage}.steps"], metrics[f"{stage}.ended"]) == (3, "cap")
            assert metrics[f"{stage}.first"] == varied.result.outcomes[stage].first
            assert metrics[f"{stage}.last"] == varied.result.outcomes[stage].last

    def test_the_manifest_says_what_it_belongs_to(self, varied: Learned, tiny: Path) -> None:
        """Base, revision, parameterization, rank and the time of the injected clock."""
        manifest = manifest_of(varied)

        entry = catalog.resolve(str(tiny))
        assert manifest.created == "2026-01-31T12:00:00Z"
        assert (manifest.base.id, manifest.base.revision) == ("local:tiny", entry.revision)
        assert manifest.base.parameterization == "eps"
        assert manifest.lora is not None
        assert (manifest.lora.rank, manifest.lora.alpha) == (2, 2)

    def test_no_second_stage_keeps_no_lora(self, learn) -> None:
        """--lora-steps 0: the tokens are the concept."""
        learn({"finetuning.steps": 0})

        assert kept().manifest.lora is None
        assert unpack_lora(kept()) == {}

    def test_a_photo_leaves_no_trace(self, learn, photos: Path) -> None:
        """Neither its pixels nor its file, name, folder or camera are in the archive."""
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Secretmaker", "Secretmodel"  # make and model
        with Image.open(photos / "03.png") as picture:
            picture.save(photos / "secretname.jpg", exif=exif)
        (photos / "03.png").unlink()
        assert b"Secretmaker" in (photos / "secretname.jpg").read_bytes()

        learn()

        archive = data()
        for trace in (b"Secret", b"secretname", b"Exif", b"eXIf", bytes(photos), b"JFIF"):
            assert trace not in archive
        for path in photos.glob("*.[pj][np]g"):
            content = path.read_bytes()
            assert content[len(content) // 2 :][:64] not in archive
        assert kept().members.keys() == {
            "tokens.safetensors",
            "residuals.safetensors",
            "lora.safetensors",
            "preview.png",
        }

    def test_random_crops_are_other_views(self, learn, plain: Learned) -> None:
        """--crop random --crops 2: not the centre, hence another concept, the same each time."""
        learn(crop="random", crops=2)
        first = data()
        assert kept().manifest.options["crops"].value == 2

        learn(crop="random", crops=2, force=True)

        assert data() == first != plain.data

    def test_a_caption_that_is_cut_is_said(self, learn, photos: Path) -> None:
        """A warning with the caption, whose end starts no residual token."""
        (photos / "01.txt").write_text("a red dog on snow " * 4, "utf-8")
        events: list[Event] = []

        learn(on_event=events.append)

        warnings = [e.text for e in events if isinstance(e, Note) and e.level == "warning"]
        assert any("20 tokens long and 12 fit" in text for text in warnings)


def test_a_concept_of_the_embedded_base_is_trained_and_read_back(tmp_path: Path) -> None:
    """The whole way on mini, with the examples and their captions."""
    flags = QUICK | {"tokens.steps": 1, "finetuning.steps": 1}

    result = train(TrainRequest(folder=EXAMPLES, name="zuzu", flags=flags), now=NOON)

    archive = read_archive(result.path)
    assert result.photos_used == 5
    assert result.size == len(data())
    assert archive.manifest.base.id == "mini"
    tokens, lora = unpack_tokens(archive), unpack_lora(archive)
    assert tokens.target["clip_l"].shape == (1, 256)
    assert len(tokens.residuals) == 5
    assert len(lora) == 2 * 56
    assert all(bool(f.any()) for f in lora.values())


def test_many_photos_are_warned_of(tmp_path: Path) -> None:
    """They share the steps of a recipe that is made for few."""
    rng = np.random.default_rng(0)
    for k in range(21):
        levels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(levels).resize((64, 64), Image.Resampling.NEAREST).save(
            tmp_path / f"{k}.png"
        )
    request = TrainRequest(folder=tmp_path, name="many", file={"captions.source": "none"})
    events: list[Event] = []

    prepare(request, events.append)
    warned = [e.text for e in events if isinstance(e, Note) and "photos are many" in e.text]
    prepare(replace(request, hold_out=1), events.append)

    assert len(warned) == 1 and "21 photos are many" in warned[0] and "800 samples" in warned[0]
    assert sum(isinstance(e, Note) and "photos are many" in e.text for e in events) == 1


def test_a_checkpoint_is_found_however_much_memory_is_free(tmp_path: Path) -> None:
    """Not on another device, and an ablation's row says how its base was fitted."""
    for k, level in enumerate((0, 255)):
        Image.new("RGB", (64, 64), (level,) * 3).save(tmp_path / f"{k}.png")
    found = prepare(TrainRequest(folder=tmp_path, name="x", file={"captions.source": "none"}))

    def on(**fitted: Any) -> Prepared:
        return replace(found, runtime=replace(found.runtime, **fitted))

    short = on(micro_batch=2, text_dtype=torch.bfloat16, vae_tiled=True)
    assert short.checkpoint_path == found.checkpoint_path
    assert short.fitting == ["torch.bfloat16", "2", "True"] != found.fitting
    assert short.machine != found.machine
    assert on(device=torch.device("meta")).checkpoint_path != found.checkpoint_path
    assert on(compiled=True).checkpoint_path != found.checkpoint_path
    assert on(quantization="nf4").checkpoint_path != found.checkpoint_path
