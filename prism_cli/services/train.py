"""`prism train`: photos in, an archive in the registry out."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
from torch import Tensor

from prism_cli import __version__, paths
from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.captioners.base import Caption
from prism_cli.captioners.sidecar import PLAIN, SidecarCaptioner
from prism_cli.errors import NameTaken
from prism_cli.method.tokens import residual_room
from prism_cli.names import check_name
from prism_cli.registry.store import Registry
from prism_cli.runtime import Runtime, detect, peak_memory
from prism_cli.services import checkpoint
from prism_cli.services.concept_archive import pack_concept
from prism_cli.services.events import Note, OnEvent, PhotoNote, ignore
from prism_cli.services.introductions import introduce
from prism_cli.services.photos import Intake, Photo, take_in, views
from prism_cli.services.pictures import to_tensor
from prism_cli.services.preview import draw_preview
from prism_cli.services.training_run import StageOutcome, TrainingRun
from prism_cli.settings import Resolved, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What the user asked for. flags and file: settings under dotted names, see `settings`."""

    folder: Path
    name: str | None = None  # None: the folder's
    base: str | None = None
    class_word: str | None = None
    seed: int = 0
    crop: Literal["center", "random"] = "center"
    crops: int = 4  # views of each photo when the crop is random
    keep_similar: bool = False
    force: bool = False
    flags: Mapping[str, Any] = field(default_factory=dict)
    file: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What was made and what it cost. seconds: of this run, without what a resume skipped."""

    name: str
    path: Path
    size: int
    base: str
    photos_used: int
    photos_left_out: int
    outcomes: Mapping[str, StageOutcome]
    seconds: float
    peak_memory: int
    preview: bytes  # a PNG


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that is known before the base is loaded."""

    request: TrainRequest
    name: str
    entry: BaseEntry
    settings: Resolved
    intake: Intake
    captions: tuple[Caption, ...]
    runtime: Runtime

    @property
    def fingerprint(self) -> str:
        """Equal for two trainings that must give the same result; it names their checkpoint."""
        facts = {
            "base": self.entry.revision,
            "photos": [photo.sha256 for photo in self.intake.photos],
            "captions": [caption.text for caption in self.captions],
            "recipe": self.settings.recipe.flat(),
            "class": self.request.class_word,
            "crop": [self.request.crop, self.request.crops],
            "seed": self.request.seed,
            "machine": [str(self.runtime.device), str(self.runtime.dtype), torch.__version__],
            "prism": __version__,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def train(
    request: TrainRequest, on_event: OnEvent = ignore, now: datetime | None = None
) -> TrainResult:
    """Learn a concept and keep it. `now` is the time that goes into the archive.

    Stopped at any moment, it leaves the registry as it was and a checkpoint; called again with the
    same request it goes on from there, to the same archive.
    """
    began = time.monotonic()
    prepared = prepare(request, on_event)
    backbone = catalog.load(prepared.entry, prepared.runtime)
    run = training_run(prepared, backbone, now or datetime.now(UTC), on_event)
    if run.checkpoint_path.is_file():
        on_event(Note("going on from where an earlier run of the same command stopped"))
    trained = run.run()
    preview = draw_preview(backbone, trained.tokens, prepared.entry, on_event)
    data = pack_concept(prepared, trained, run.created, backbone.lora_targets(), preview)
    kept = Registry(paths.concepts_dir()).add(data, prepared.name, replace=request.force)
    catalog.remember(prepared.entry)
    checkpoint.discard(prepared.name)
    return TrainResult(
        name=prepared.name,
        path=kept.path,
        size=kept.size,
        base=prepared.entry.id,
        photos_used=len(prepared.intake.photos),
        photos_left_out=sum(not finding.used for finding in prepared.intake.findings),
        outcomes=trained.outcomes,
        seconds=time.monotonic() - began,
        peak_memory=peak_memory(),
        preview=preview,
    )


def prepare(request: TrainRequest, on_event: OnEvent = ignore) -> Prepared:
    """Check everything that can be checked before a weight is loaded, and say what was chosen."""
    name = request.name or _name_of(request.folder)
    check_name(name)
    if not request.force and name in Registry(paths.concepts_dir()).names():
        raise NameTaken(
            f"there is a concept called {name!r}",
            hint="choose another --name, or replace it with --force",
        )
    entry = catalog.resolve(request.base)
    runtime = detect()
    settings = resolve(entry.recipe, request.file, request.flags)
    why = "named with --base" if request.base else "no other was named with --base"
    introduce(entry, why, runtime, on_event)
    intake = take_in(
        request.folder,
        size=entry.size,
        keep_similar=request.keep_similar,
        minimum=2 if settings.recipe.tokens.beta else 1,  # exclusion needs another photo
    )
    for finding in intake.findings:
        on_event(PhotoNote(finding.file, finding.treatment, finding.sentence, finding.used))
    used = len(intake.photos)
    on_event(Note(f"photos: {used} of {len(intake.findings)} in {request.folder} are used"))
    captioner = SidecarCaptioner()
    captions = tuple(captioner.caption(photo.path) for photo in intake.photos)
    bare = sum(caption is PLAIN for caption in captions)
    if bare:
        on_event(
            Note(
                f"{bare} of {len(captions)} photos have no caption and start from {PLAIN.text!r}: "
                "a sentence in photo.txt beside photo.jpg makes the concept cleaner",
                "warning",
            )
        )
    return Prepared(
        request=request,
        name=name,
        entry=entry,
        settings=settings,
        intake=intake,
        captions=captions,
        runtime=runtime,
    )


def training_run(
    prepared: Prepared, backbone: Backbone, now: datetime, on_event: OnEvent
) -> TrainingRun:
    """The run that `prepared` describes, its photos encoded."""
    captions = [caption.text for caption in prepared.captions]
    _say_what_is_cut(backbone, captions, prepared.settings.recipe.tokens.length, on_event)
    return TrainingRun(
        backbone=backbone,
        z_0=encode_photos(backbone, prepared.intake.photos, prepared),
        name=prepared.name,
        captions=captions,
        class_word=prepared.request.class_word,
        recipe=prepared.settings.recipe,
        seed=prepared.request.seed,
        checkpoint_path=checkpoint.path_for(prepared.name, prepared.fingerprint),
        created=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        on_event=on_event,
    )


def encode_photos(backbone: Backbone, photos: Sequence[Photo], prepared: Prepared) -> Tensor:
    """z_0 (N, V, c, h, w): every view of every photo through the autoencoder, once."""
    rng, request = Random(prepared.request.seed), prepared.request
    encoded = [
        backbone.encode_images(
            to_tensor(views(photo.image, prepared.entry.size, request.crop, request.crops, rng))
        )
        for photo in photos
    ]
    return torch.stack(encoded)


def _say_what_is_cut(
    backbone: Backbone, captions: Sequence[str], length: int, on_event: OnEvent
) -> None:
    for encoder in backbone.encoders:
        room = residual_room(backbone, encoder, length)
        for caption in captions:
            tokens = len(backbone.word_rows(caption)[encoder])
            if tokens > room:
                on_event(
                    Note(
                        f"a caption is {tokens} tokens long and {room} fit beside the target; "
                        f"its end starts no residual token: {caption!r}",
                        "warning",
                    )
                )


def _name_of(folder: Path) -> str:
    """The folder's own name, made into one that a concept can have."""
    return re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:63]
