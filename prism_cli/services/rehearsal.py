"""`prism train --dry-run`: the plan, with a time and a size that were measured, not guessed."""

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
from prism_cli.runtime import peak_memory
from prism_cli.services.events import Event, OnEvent, StageMoved, ignore
from prism_cli.services.prepare import TrainRequest, prepare
from prism_cli.services.train import training_run
from prism_cli.services.training_run import LORA, TOKENS
from prism_cli.settings import Recipe

_STEPS = 4  # per stage; the first is slower than the rest and is not counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training would do. seconds: up to the caps, but the preview. memory: in bytes."""

    name: str
    path: Path
    photos_used: int
    photos_left_out: int
    base: str
    size: int  # pixels
    device: str
    precision: str
    steps: Mapping[str, int]
    seconds: float
    memory: int
    archive_size: int


def rehearse(request: TrainRequest, on_event: OnEvent = ignore) -> Plan:
    """Take a few steps of each stage, time them, and keep nothing."""
    began = time.monotonic()
    prepared = prepare(request, on_event)
    backbone = catalog.load(prepared.entry, prepared.runtime)
    run = training_run(prepared, backbone, datetime.now(UTC), on_event)
    timer = _Timer()
    with tempfile.TemporaryDirectory() as folder:
        run.recipe, run.on_event = _short(run.recipe), timer
        run.checkpoint_path = Path(folder) / "rehearsal.safetensors"
        trained = run.run()
    full = prepared.settings.recipe
    steps = {TOKENS: full.tokens.steps, LORA: full.finetuning.steps}
    tensors = [*trained.tokens.parameters(), *trained.lora.values()]
    return Plan(
        name=prepared.name,
        path=paths.concepts_dir() / f"{prepared.name}.prism",
        photos_used=len(prepared.intake.photos),
        photos_left_out=sum(not finding.used for finding in prepared.intake.findings),
        base=prepared.entry.id,
        size=prepared.entry.size,
        device=prepared.runtime.device.type,
        precision=str(prepared.runtime.dtype).removeprefix("torch."),
        steps=steps,
        seconds=time.monotonic() - began + timer.remaining(full, steps),
        memory=peak_memory(),
        archive_size=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    )


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
