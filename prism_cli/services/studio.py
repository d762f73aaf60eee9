"""Several prompts drawn with one loaded base, each with LoRAs of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from PIL import Image

from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone, Conditioning, Prompt, Rows, SamplingPlan, Slot
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.method.conditions import NULL
from prism_cli.runtime import detect
from prism_cli.services.attaching import Loras
from prism_cli.services.drawing import draw
from prism_cli.services.events import OnEvent, StageBegan, StageEnded, StageMoved
from prism_cli.services.memory_needs import Work
from prism_cli.services.memory_plan import fit, fits_anywhere, footprint_of
from prism_cli.settings import checked


@dataclass(frozen=True, slots=True)
class Shot:
    """One prompt, drawn once from each seed. loras, only_at: see `Backbone.attach_loras`."""

    prompt: Prompt
    loras: Loras
    seeds: Sequence[int]
    only_at: Mapping[str, Collection[Slot]] | None = None


def open_base(entry: BaseEntry, plan: SamplingPlan, on_event: OnEvent) -> Backbone:
    """Load a base to draw with, fitted to this machine; TooLarge where it does not fit."""
    runtime = detect()
    work = drawing_work(entry, plan)
    if not fits_anywhere(entry, work):
        memory = fit(footprint_of(entry), work, on_event)
        runtime = memory.runtime(runtime.device)
    backbone = catalog.load(entry, runtime)
    catalog.remember(entry)
    return backbone


def drawing_work(entry: BaseEntry, plan: SamplingPlan) -> Work:
    """What drawing in full batches asks of the base."""
    recipe = replace(entry.recipe, drawing=replace(entry.recipe.drawing, steps=plan.steps))
    return Work(
        size=plan.size,
        recipe=recipe,
        pictures=entry.recipe.drawing.batch,
        guided=plan.guidance != 1,
    )


def plan_of(
    entry: BaseEntry, steps: int | None = None, guidance: float | None = None
) -> SamplingPlan:
    """The base's own way to draw, but for what was asked otherwise; OptionRefused out of range."""
    defaults = entry.recipe.drawing
    return SamplingPlan(
        steps=checked("drawing.steps", defaults.steps if steps is None else steps),
        guidance=checked("drawing.guidance", defaults.guidance if guidance is None else guidance),
        size=(entry.size, entry.size),
    )


def draw_shots(
    backbone: Backbone,
    shots: Sequence[Shot],
    rows: Rows,
    plan: SamplingPlan,
    batch: int,
    stage: str,
    on_event: OnEvent,
) -> list[list[Image.Image]]:
    """The pictures of each shot, a seed each.

    Every prompt is read first, and the text encoders are let go, as the memory plan has it. Shots
    of the same LoRAs share batches.
    """
    conditions = [_encoded(backbone, shot, rows) for shot in shots]
    backbone.release_text_encoders()
    batches = _batches(shots, batch)
    on_event(StageBegan(stage, plan.steps * len(batches)))
    drawn: list[list[Image.Image]] = [[] for _ in shots]
    attached: Shot | None = None
    for done, some in enumerate(batches):
        shot = shots[some[0][0]]
        if attached is None or not _alike(attached, shot):
            backbone.attach_loras(shot.loras, shot.only_at)
            attached = shot
        each = [conditions[k] for k, _ in some]
        cond, null = (reduce(Conditioning.then, [c.take([at]) for c in each]) for at in (0, 1))
        for progress in draw(backbone, cond, null, [seed for _, seed in some], plan):
            on_event(StageMoved(stage, done * plan.steps + progress.step))
            for (k, _), picture in zip(some, progress.pictures, strict=False):
                drawn[k].append(picture)
    on_event(StageEnded(stage, plan.steps * len(batches), "done"))
    return drawn


def _batches(shots: Sequence[Shot], size: int) -> list[list[tuple[int, int]]]:
    """(shot, seed) in turn, in batches of at most `size` that have one set of LoRAs."""
    batches: list[list[tuple[int, int]]] = []
    for k, shot in enumerate(shots):
        for seed in shot.seeds:
            if batches and len(batches[-1]) < size and _alike(shots[batches[-1][0][0]], shot):
                batches[-1].append((k, seed))
            else:
                batches.append([(k, seed)])
    return batches


def _alike(one: Shot, other: Shot) -> bool:
    """Whether two shots are drawn with the very same LoRAs."""
    return one.loras is other.loras and one.only_at is other.only_at


def _encoded(backbone: Backbone, shot: Shot, rows: Rows) -> Conditioning:
    """The shot's prompt and the null prompt; of confined LoRAs, with their tokens' places."""
    if shot.only_at is not None:
        backbone.attach_loras(shot.loras, shot.only_at)
    return backbone.encode_text([shot.prompt, NULL], rows)
