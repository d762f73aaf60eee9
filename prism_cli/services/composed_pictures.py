"""Pictures of a composition, and of each of its concepts as strong as it is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from prism_cli import placeholders
from prism_cli.backbones.base import Prompt
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.method.composition import state_of
from prism_cli.placeholders import Mention
from prism_cli.registry.archive import Archive
from prism_cli.services.attaching import PER_TOKEN, SUM, attachments
from prism_cli.services.concept_archive import check_rows_fit, part_slot, unpack_rows
from prism_cli.services.events import OnEvent
from prism_cli.services.parts import Part, phrase_of
from prism_cli.services.studio import Shot, draw_shots, open_base, plan_of

STAGE = "interference"
_SEEDS = range(4)  # the same noise alone and composed, and for every composition


@dataclass(frozen=True, slots=True)
class Drawing:
    """Each concept by itself, in their order, and all in one."""

    alone: list[list[Image.Image]]
    composed: list[Image.Image]


def draw_composition(
    archive: Archive,
    concepts: Sequence[Part],
    entry: BaseEntry,
    steps: int | None,
    method: str,
    on_event: OnEvent,
) -> Drawing:
    """Each concept alone, as strong as it is in the whole, and the whole."""
    name, plan = archive.manifest.name, plan_of(entry, steps)
    backbone = open_base(entry, plan, on_event)
    rows = unpack_rows(archive)
    check_rows_fit(name, rows, backbone)
    alone = [
        Shot(
            _prompt(name, phrase_of([part], (), entry.id)),
            {part.name: (state_of(part.lora), part.scale)} if part.lora else {},
            _SEEDS,
        )
        for part in concepts
    ]
    way = PER_TOKEN if method == PER_TOKEN else SUM
    loras, only_at = attachments({name: archive}, {name: 1.0}, way)
    whole = Shot(_prompt(name, archive.manifest.phrase), loras, _SEEDS, only_at)
    batch = entry.recipe.drawing.batch
    *own, composed = draw_shots(backbone, [*alone, whole], rows, plan, batch, STAGE, on_event)
    return Drawing(own, composed)


def _prompt(name: str, phrase: str) -> Prompt:
    """A phrase with the composition's own tokens in it."""
    return tuple(
        piece if isinstance(piece, str) else part_slot(name, piece.name)
        for piece in placeholders.parse(phrase)
    )


def sides_of(phrase: str) -> dict[str, str]:
    """Which half of a picture shows which concept: left and right of "[a] next to [b]"."""
    match placeholders.parse(phrase):
        case (Mention(one), " next to ", Mention(other)):
            return {one: "left", other: "right"}
    return {}
