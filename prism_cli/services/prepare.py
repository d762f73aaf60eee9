"""What a training is made of, checked before a weight is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from prism_cli import __version__
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.captioners.base import PLAIN, Caption
from prism_cli.method.conditions import TEMPLATE
from prism_cli.runtime import Runtime, detect
from prism_cli.services import checkpoint
from prism_cli.services.bases import Ahead, choose
from prism_cli.services.caption import all_captions, caption_photos, check_model
from prism_cli.services.early import free_name
from prism_cli.services.events import Note, OnEvent, PhotoNote, ignore
from prism_cli.services.introductions import compiling, introduce
from prism_cli.services.photos import Intake, take_in
from prism_cli.settings import CROPS, Resolved, resolve

MANY = 20  # photos; more is said to be too many for the steps that a recipe has


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What the user asked for. flags and file: settings under dotted names, see `settings`."""

    folder: Path
    name: str | None = None  # None: the folder's
    base: str | None = None
    class_word: str | None = None
    kind: str = "subject"  # one of registry.manifest.LEARNED_KINDS
    seed: int = 0
    crop: Literal["center", "random"] = "center"
    crops: int = CROPS  # views of each photo when the crop is random
    keep_similar: bool = False
    hold_out: int = 0  # photos, the last of the folder
    force: bool = False
    compiled: bool = False
    ahead: Ahead | None = None  # a dry run's base, where it is not here
    flags: Mapping[str, Any] = field(default_factory=dict)
    file: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that is known before the base is loaded."""

    request: TrainRequest
    name: str
    entry: BaseEntry
    settings: Resolved
    intake: Intake
    captions: tuple[Caption, ...]
    shared: str  # see `caption.Captioned`; "" for a style or an action
    runtime: Runtime

    @property
    def start(self) -> str | None:
        """The word that the target starts as; None for a draw from the vocabulary."""
        given = self.request.class_word
        return (self.shared if given is None else given) or None

    @property
    def template(self) -> str:
        """How the target stands with a residual: a style as styles are said on the base."""
        return self.entry.in_style if self.request.kind == "style" else TEMPLATE

    @property
    def fingerprint(self) -> str:
        """Equal for two trainings of which one may go on where the other stopped.

        It names their checkpoint. What `fitting` says is no part of it: that is rounding.
        """
        runtime = self.runtime
        facts = {
            "base": self.entry.revision,
            "photos": [photo.sha256 for photo in self.intake.photos],
            "captions": [caption.text for caption in self.captions],
            "recipe": {
                name: value  # the captions count, not where they came from
                for name, value in self.settings.recipe.flat().items()
                if not name.startswith("captions.")
            },
            "start": self.start,
            "kind": self.request.kind,
            "template": self.template,
            "crop": [self.request.crop, self.request.crops],
            "seed": self.request.seed,
            "machine": [*map(str, (runtime.device, runtime.dtype, runtime.quantization))],
            "torch": [torch.__version__, runtime.compiled],
            "prism": __version__,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def checkpoint_path(self) -> Path:
        """Where it goes on from when it was stopped."""
        return checkpoint.path_for(self.name, self.fingerprint)

    @property
    def lora_seed(self) -> int:
        """Of stage 2: the seed's, and the photos'.

        A moves little from where it starts. Two concepts whose As started at one draw of one seed
        read the same of the picture, so that each answers to the other's where both are merged;
        independent ones are nearly orthogonal, which is what Po et al. (2024), "Orthogonal
        Adaptation for Modular Customization of Diffusion Models", ask of factors to be added.
        """
        facts = [self.request.seed, *(photo.sha256 for photo in self.intake.photos)]
        digest = hashlib.sha256(json.dumps(facts).encode()).digest()
        return int.from_bytes(digest[:7])  # what a generator takes on every platform

    @property
    def machine(self) -> list[str]:
        """What of the machine decides a result: not where a part waits, nor what is kept."""
        runtime, (text, *batches) = self.runtime, self.fitting
        return [
            *(str(runtime.device), str(runtime.dtype), text, str(runtime.quantization)),
            *(["compiled"] if runtime.compiled else []),
            *(*batches, torch.__version__),
        ]

    @property
    def fitting(self) -> list[str]:
        """What of that follows from the memory that is free at the start, and only rounds."""
        runtime = self.runtime
        return [*map(str, (runtime.text_dtype, runtime.micro_batch, runtime.vae_tiled))]


def prepare(
    request: TrainRequest, on_event: OnEvent = ignore, *, rehearsal: bool = False
) -> Prepared:
    """Check everything that can be checked before a weight is loaded, and say what was chosen.

    rehearsal: no captioner is asked anything that costs time or money, or leaves this machine.
    """
    name = free_name(request.folder, request.name, replace=request.force)
    runtime = detect()
    entry, why = choose(request.base, cuda=runtime.device.type == "cuda", ahead=request.ahead)
    settings = resolve(entry.recipe, request.file, request.flags)
    check_model(settings)
    introduce(entry, why, runtime, on_event)
    if request.compiled:
        runtime = compiling(runtime, on_event)
    intake = take_in(
        request.folder,
        size=entry.size,
        keep_similar=request.keep_similar,
        hold_out=request.hold_out,
        minimum=2 if settings.recipe.tokens.beta else 1,  # exclusion needs another photo
        on_event=on_event,
    )
    for finding in intake.findings:
        on_event(PhotoNote(finding.file, finding.treatment, finding.sentence, finding.used))
    used = len(intake.photos)
    on_event(Note(f"photos: {used} of {len(intake.findings)} in {request.folder} are used"))
    samples = settings.recipe.tokens.steps * settings.recipe.tokens.batch
    if used > MANY:
        on_event(
            Note(
                f"{used} photos are many: 3 to 8 are enough, and these share {samples} samples in"
                " stage 1; leave some out, or raise tokens.steps",
                "warning",
            )
        )
    captioned = caption_photos(
        intake.photos,
        request.folder,
        settings.recipe.captions,
        entry,
        on_event,
        ask=not rehearsal,
    )
    captions = all_captions(captioned)
    shared = captioned.shared if request.kind == "subject" else ""  # a style is no colour
    if shared and request.class_word is None:
        on_event(Note(f"the target starts as {shared!r}, which the photos share"))
    bare = sum(caption is PLAIN for caption in captions) - captioned.unasked
    if bare and settings.recipe.captions.source != "none":
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
        shared=shared,
        runtime=runtime,
    )
