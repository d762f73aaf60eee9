"""The first pictures of a concept: the archive's ``preview.png``. Drawn, never a photo."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from prism_cli.backbones.base import Backbone, Conditioning, Prompt, SamplingPlan
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.method.conditions import NULL, with_concept
from prism_cli.registry.archive import Archive
from prism_cli.registry.container import PREVIEW
from prism_cli.reports.contact_sheet import contact_sheet
from prism_cli.services.drawing import draw
from prism_cli.services.events import Note, OnEvent, StageBegan, StageEnded, StageMoved
from prism_cli.services.pictures import from_png, png

STAGE = "preview"
_SEED = 0  # the same noise for every concept, so that two previews compare


def preview_prompts(entry: BaseEntry, concept: str, kind: str = "subject") -> tuple[Prompt, ...]:
    """What a preview needs encoded: the base's prompts for its kind with it in them, and null."""
    return (*(with_concept(template, concept) for template in entry.previews[kind]), NULL)


def draw_preview(
    backbone: Backbone, conditions: Conditioning, entry: BaseEntry, on_event: OnEvent
) -> bytes:
    """Draw what `preview_prompts` became: one PNG."""
    plan = SamplingPlan(
        steps=entry.recipe.drawing.steps,
        guidance=entry.recipe.drawing.guidance,
        size=(entry.size, entry.size),
    )
    count = len(conditions) - 1
    cond, null = conditions.take(range(count)), conditions.take([count] * count)
    seeds = range(_SEED, _SEED + count)
    on_event(StageBegan(STAGE, plan.steps))
    pictures: Sequence[Image.Image] = ()
    for progress in draw(backbone, cond, null, seeds, plan):
        on_event(StageMoved(STAGE, progress.step))
        pictures = progress.pictures
    on_event(StageEnded(STAGE, plan.steps, "done"))
    return png(contact_sheet(pictures))


def kept_preview(archive: Archive, on_event: OnEvent) -> Image.Image | None:
    """The one in an archive, perhaps of another program; None where there is none to be read."""
    data = archive.members.get(PREVIEW)
    if data is None:
        return None
    try:
        return from_png(data)
    except Exception:  # only its header was checked; a decoder raises whatever damage leads it to
        on_event(Note("the preview in the archive is damaged: left out", "warning"))
        return None
