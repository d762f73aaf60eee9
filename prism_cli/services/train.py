"""`prism train`: photos in, an archive in the registry out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone
from prism_cli.errors import NameTaken, StorageBusy
from prism_cli.method.tokens import residual_room
from prism_cli.registry.store import Entry, Registry
from prism_cli.runtime import peak_memory
from prism_cli.services import checkpoint
from prism_cli.services.concept_archive import pack_concept
from prism_cli.services.events import Note, OnEvent, ignore
from prism_cli.services.memory_needs import Work
from prism_cli.services.memory_plan import MemoryPlan, fit, fits_anywhere, footprint_of
from prism_cli.services.photo_notes import remember_folder
from prism_cli.services.photos import Photo, views
from prism_cli.services.pictures import to_tensor
from prism_cli.services.prepare import Prepared, TrainRequest, prepare
from prism_cli.services.preview import draw_preview, preview_prompts
from prism_cli.services.training_run import StageOutcome, Trained, TrainingRun


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What was made and what it cost. seconds: of this run, without what a resume skipped."""

    name: str
    kind: str
    path: Path
    size: int
    base: str
    photos_used: int
    photos_left_out: int
    outcomes: Mapping[str, StageOutcome]
    seconds: float
    peak_memory: int
    planned_memory: int | None  # None for what fits anywhere
    preview: bytes  # a PNG


def train(
    request: TrainRequest, on_event: OnEvent = ignore, now: datetime | None = None
) -> TrainResult:
    """Learn a concept and keep it. `now` is the time that goes into the archive.

    Stopped at any moment, it leaves the registry as it was and a checkpoint; called again with the
    same request it goes on from there, to the same archive where its base is fitted alike. Raises
    what `prepare` raises, TooLarge, NameTaken, StorageFailed, and StorageBusy where another process
    is at the same training.
    """
    began = time.monotonic()
    prepared, plan = fitted(prepare(request, on_event), on_event)
    with checkpoint.alone(prepared.checkpoint_path) as mine:
        if not mine:
            raise StorageBusy(
                f"another prism is learning {prepared.name!r} from the same photos",
                hint="wait until it has ended, or stop it and run the same command again",
            )
        if checkpoint.others(prepared.checkpoint_path, prepared.name):
            on_event(
                Note(
                    f"a training of {prepared.name!r} was stopped that had other photos, settings"
                    " or weights: this one begins anew",
                    "warning",
                )
            )
        run, trained = learn(prepared, on_event, now)
        entry = replace(prepared.entry, recipe=prepared.settings.recipe)
        preview = draw_preview(run.backbone, trained.previews, entry, on_event)
        data = pack_concept(prepared, trained, run.created, run.backbone.lora_targets(), preview)
        # Where a note cannot be written, nothing is kept, and the checkpoint is still there.
        catalog.remember(prepared.entry)
        remember_folder(prepared.request.folder, [photo.sha256 for photo in prepared.intake.photos])
        kept = _keep(data, prepared.name, replace=request.force)
        checkpoint.discard(prepared.checkpoint_path)
    checkpoint.discard_abandoned(prepared.name)
    return TrainResult(
        name=prepared.name,
        kind=prepared.request.kind,
        path=kept.path,
        size=kept.size,
        base=prepared.entry.id,
        photos_used=len(prepared.intake.photos),
        photos_left_out=sum(not finding.used for finding in prepared.intake.findings),
        outcomes=trained.outcomes,
        seconds=time.monotonic() - began,
        peak_memory=peak_memory(),
        planned_memory=plan.device_bytes if plan else None,
        preview=preview,
    )


def _keep(data: bytes, name: str, *, replace: bool) -> Entry:
    """Put what was learned into the registry; where the name has been given away, say how."""
    try:
        return Registry(paths.concepts_dir()).add(data, name, replace)
    except NameTaken as error:
        raise NameTaken(
            f"another concept has been called {name!r} while this one was learned",
            hint=f"prism rename {name} NEW, then run the same command again: nothing is lost",
        ) from error


def learn(
    prepared: Prepared, on_event: OnEvent = ignore, now: datetime | None = None
) -> tuple[TrainingRun, Trained]:
    """Load the base and run both stages. The checkpoint stays.

    Returns the run, which has the base with the LoRA in it, and what was learned.
    """
    backbone = catalog.load(prepared.entry, prepared.runtime)
    run = training_run(prepared, backbone, now or datetime.now(UTC), on_event)
    if run.checkpoint_path.is_file():
        on_event(Note("going on from where an earlier run of the same command stopped"))
    return run, run.run()


def fitted(prepared: Prepared, on_event: OnEvent) -> tuple[Prepared, MemoryPlan | None]:
    """`prepared` with the runtime that fits its base to this machine.

    What fits anywhere has no plan.
    """
    work = work_of(prepared)
    if fits_anywhere(prepared.entry, work):
        return prepared, None
    plan = fit(footprint_of(prepared.entry), work, on_event)
    runtime = plan.runtime(prepared.runtime.device)
    return replace(prepared, runtime=replace(runtime, compiled=prepared.request.compiled)), plan


def work_of(prepared: Prepared) -> Work:
    """What the training asks of its base."""
    recipe = prepared.settings.recipe
    return Work(
        size=(prepared.entry.size, prepared.entry.size),
        recipe=recipe,
        photos=len(prepared.intake.photos),
        pictures=len(prepared.entry.previews[prepared.request.kind]),
        guided=recipe.drawing.guidance != 1,
    )


def training_run(
    prepared: Prepared, backbone: Backbone, now: datetime, on_event: OnEvent
) -> TrainingRun:
    """The run that `prepared` describes, its photos encoded."""
    captions = [caption.text for caption in prepared.captions]
    _say_what_is_cut(backbone, captions, prepared, on_event)
    return TrainingRun(
        backbone=backbone,
        z_0=encode_photos(backbone, prepared.intake.photos, prepared),
        name=prepared.name,
        captions=captions,
        start=prepared.start,
        template=prepared.template,
        recipe=prepared.settings.recipe,
        seed=prepared.request.seed,
        lora_seed=prepared.lora_seed,
        checkpoint_path=prepared.checkpoint_path,
        fitting=prepared.fitting,
        created=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        on_event=on_event,
        previews=preview_prompts(prepared.entry, prepared.name, prepared.request.kind),
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
    backbone: Backbone, captions: Sequence[str], prepared: Prepared, on_event: OnEvent
) -> None:
    length = prepared.settings.recipe.tokens.length
    for encoder in backbone.encoders:
        room = residual_room(backbone, encoder, length, prepared.template)
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
