"""`--dry-run`: what a command would do and take. No weight of a base is read for it.

The practice base is the exception in training: it is part of prism and small, so that a few steps
of it are simply taken and timed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.backbones.base import SamplingPlan
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.backbones.footprint import Footprint
from prism_cli.runtime import Runtime, detect
from prism_cli.services.bases import Ahead
from prism_cli.services.effort import least_seconds
from prism_cli.services.events import Event, OnEvent, StageMoved, ignore
from prism_cli.services.generate import DrawRequest, prepare_drawing
from prism_cli.services.memory_needs import Work
from prism_cli.services.memory_plan import MemoryPlan, choose_here, footprint_of
from prism_cli.services.prepare import Prepared, TrainRequest, prepare
from prism_cli.services.studio import drawing_work
from prism_cli.services.train import fitted, training_run, work_of
from prism_cli.services.training_run import LORA, TOKENS
from prism_cli.settings import Recipe

_STEPS = 4  # per stage; the first is slower than the rest and is not counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How the base is fitted to the machine. Bytes and seconds.

    phases: what each takes. ram: beside the device's own memory, else 0. decided: why, a sentence a
    choice. disk: of the base's files. download: of those that are not here. timed: whether
    `seconds` was; else it is the least that the arithmetic takes.
    """

    base: str
    size: tuple[int, int]  # width, height
    device: str
    precision: str
    phases: Mapping[str, int]
    memory: int
    ram: int
    decided: tuple[str, ...]
    disk: int
    download: int
    seconds: float
    timed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training would do: steps up to the caps, by stage; archive_size at most."""

    fit: Fit
    name: str
    path: Path
    photos_used: int
    photos_left_out: int
    steps: Mapping[str, int]
    archive_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingPlan:
    """What would be drawn, and where it would be written."""

    fit: Fit
    paths: tuple[Path, ...]
    steps: int
    guidance: float


def rehearse(request: TrainRequest, on_event: OnEvent = ignore) -> Plan:
    """Plan a training, and keep nothing."""
    began = time.monotonic()
    prepared = prepare(request, on_event, rehearsal=True)
    footprint, work = footprint_of(prepared.entry), work_of(prepared)
    plan = choose_here(footprint, work)
    runtime = plan.runtime(prepared.runtime.device)
    recipe = prepared.settings.recipe
    if prepared.entry.practice:
        seconds = _timed(fitted(prepared, ignore)[0], began, on_event)
    else:
        seconds = least_seconds(footprint, plan.way, work, runtime)
    trained = footprint.denoise(work.size, plan.way.precision, "lora", rank=recipe.finetuning.rank)
    rows = (1 + work.photos) * footprint.prompt_size
    return Plan(
        fit=_described(
            prepared.entry,
            footprint,
            plan,
            work,
            runtime,
            seconds,
            request.ahead,
            timed=prepared.entry.practice,
        ),
        name=prepared.name,
        path=paths.concepts_dir() / f"{prepared.name}.prism",
        photos_used=work.photos,
        photos_left_out=sum(not finding.used for finding in prepared.intake.findings),
        steps={TOKENS: recipe.tokens.steps, LORA: recipe.finetuning.steps},
        archive_size=4 * (rows + (trained.trainable if recipe.finetuning.steps else 0)),
    )


def rehearse_drawing(request: DrawRequest, on_event: OnEvent = ignore) -> DrawingPlan:
    """Plan a drawing."""
    drawing = prepare_drawing(request, on_event)
    footprint, work = footprint_of(drawing.scene.entry), drawing.work
    plan = choose_here(footprint, work)
    runtime = plan.runtime(drawing.runtime.device)
    batches = -(-len(drawing.seeds) // work.pictures)
    seconds = batches * least_seconds(footprint, plan.way, work, runtime)
    return DrawingPlan(
        fit=_described(
            drawing.scene.entry,
            footprint,
            plan,
            work,
            runtime,
            seconds,
            request.ahead,
            timed=False,
        ),
        paths=tuple(drawing.targets),
        steps=drawing.plan.steps,
        guidance=drawing.plan.guidance,
    )


def rehearse_shots(entry: BaseEntry, plan: SamplingPlan, pictures: int) -> Fit:
    """How `entry` would be fitted to draw so many pictures, and their least time."""
    footprint, work = footprint_of(entry), drawing_work(entry, plan)
    memory = choose_here(footprint, work)
    runtime = memory.runtime(detect().device)
    batches = -(-pictures // work.pictures)
    seconds = batches * least_seconds(footprint, memory.way, work, runtime)
    return _described(entry, footprint, memory, work, runtime, seconds, None, timed=False)


def _described(
    entry: BaseEntry,
    footprint: Footprint,
    plan: MemoryPlan,
    work: Work,
    runtime: Runtime,
    seconds: float,
    ahead: Ahead | None,
    *,
    timed: bool,
) -> Fit:
    quantization = plan.way.quantization
    return Fit(
        base=entry.id,
        size=(work.size[1], work.size[0]),
        device=runtime.device.type,
        precision=quantization.value if quantization else plan.way.precision,
        phases={name: need.device for name, need in plan.phases.items()},
        memory=plan.device_bytes,
        ram=plan.ram_bytes,
        decided=plan.decided,
        disk=ahead.size if ahead else footprint.disk_bytes(),
        download=ahead.download if ahead else 0,
        seconds=seconds,
        timed=timed,
    )


def _timed(prepared: Prepared, began: float, on_event: OnEvent) -> float:
    """Seconds of a whole training but its preview: a few steps of each stage are taken."""
    backbone = catalog.load(prepared.entry, prepared.runtime)
    run = training_run(prepared, backbone, datetime.now(UTC), on_event)
    timer = _Timer()
    with tempfile.TemporaryDirectory() as folder:
        run.recipe, run.on_event = _short(run.recipe), timer
        run.checkpoint_path = Path(folder) / "rehearsal.safetensors"
        run.run()
    full = prepared.settings.recipe
    steps = {TOKENS: full.tokens.steps, LORA: full.finetuning.steps}
    return time.monotonic() - began + timer.remaining(full, steps)


def _short(recipe: Recipe) -> Recipe:
    return replace(
        recipe,
        tokens=replace(recipe.tokens, steps=min(recipe.tokens.steps, _STEPS)),
        finetuning=replace(recipe.finetuning, steps=min(recipe.finetuning.steps, _STEPS)),
    )


class _Timer:
    """An event sink that times steps."""

    def __init__(self) -> None:
        self.moments: dict[str, list[float]] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageMoved):
            self.moments.setdefault(event.stage, []).append(time.monotonic())

    def remaining(self, recipe: Recipe, steps: Mapping[str, int]) -> float:
        """Seconds of the steps that a rehearsal leaves out, and of looking at the fixed batch."""
        every = {
            TOKENS: recipe.tokens.evaluate_every,
            LORA: recipe.finetuning.evaluate_every,
        }
        return sum(
            (count + count / every[stage]) * self._step(stage) for stage, count in steps.items()
        )

    def _step(self, stage: str) -> float:
        """The median time between two steps."""
        gaps = [b - a for a, b in pairwise(self.moments.get(stage, []))]
        return median(gaps) if gaps else 0.0
