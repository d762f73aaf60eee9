"""`prism inspect`: what a concept has learned, what it has left out, and what leaks between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from prism_cli import paths
from prism_cli.backbones.base import Backbone, SamplingPlan
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.errors import OptionRefused, storage
from prism_cli.files import write_whole
from prism_cli.method.conditions import residual_only, target_slot
from prism_cli.method.leakage import Leakage
from prism_cli.method.tokens import ConceptTokens
from prism_cli.registry.archive import Archive
from prism_cli.registry.store import Registry
from prism_cli.reports.contact_sheet import contact_sheet
from prism_cli.reports.heat_map import heat_map
from prism_cli.runtime import detect
from prism_cli.services.attaching import SUM, attachments
from prism_cli.services.concept_archive import check_rows_fit, unpack_tokens
from prism_cli.services.early import check_drawing, check_files_free, check_folder
from prism_cli.services.events import Note, OnEvent, ignore
from prism_cli.services.introductions import introduce
from prism_cli.services.pictures import png
from prism_cli.services.references import find_photos
from prism_cli.services.residual_leakage import measure_leakage, residual_conditions
from prism_cli.services.studio import Shot, draw_shots, open_base, plan_of
from prism_cli.services.trained_base import common_base

STAGE = "inspect"


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """What the user asked for. photos: where they are; None for where they were."""

    name: str
    photos: Path | None = None
    out: Path | None = None  # a folder
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectPlan:
    """What would be drawn, and where it would be written."""

    entry: BaseEntry
    sampling: SamplingPlan
    pictures: int
    sheet: Path
    leakage: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectResult:
    """What was found. measured_on: "photos", or "draws" where the photos are not here.

    matrix: residual i (row) on photo j. own, leaked: means on and off its diagonal. worst: the
    residual and the other photo that it says most about.
    """

    name: str
    base: str
    sheet: Path
    heat_map: Path
    measured_on: str
    matrix: tuple[tuple[float, ...], ...]
    own: float
    leaked: float
    worst: tuple[int, int]


def plan_inspection(request: InspectRequest) -> InspectPlan:
    """Everything that is known before the base is loaded.

    Raises ConceptNotFound, BaseMismatch, OptionRefused of what has no residuals, NameTaken.
    """
    archive = Registry(paths.concepts_dir()).load(request.name)
    manifest = archive.manifest
    if manifest.parents:
        raise OptionRefused(
            f"{request.name!r} is a composition, which has no residuals",
            hint="inspect what it is of: "
            + ", ".join(f"prism inspect {parent.name}" for parent in manifest.parents),
        )
    if not manifest.residual_lengths:
        raise OptionRefused(
            f"{request.name!r} was kept without residuals",
            hint=f"train it again with them: prism train PHOTOS --name {request.name} --force",
        )
    folder = request.out or Path()
    targets = [
        folder / f"{request.name}-{what}-{request.seed}.png" for what in ("inspect", "leakage")
    ]
    check_files_free(targets, force=request.force)
    check_drawing(request.steps, request.guidance)
    if request.photos is not None:
        check_folder(request.photos)
    entry = common_base({request.name: archive})
    return InspectPlan(
        entry=entry,
        sampling=plan_of(entry, request.steps, request.guidance),
        pictures=3 * len(manifest.photos),
        sheet=targets[0],
        leakage=targets[1],
    )


def inspect(request: InspectRequest, on_event: OnEvent = ignore) -> InspectResult:
    """Draw target, residual and both for each photo, and measure the leakage between residuals."""
    plan = plan_inspection(request)
    archive = Registry(paths.concepts_dir()).load(request.name)
    introduce(plan.entry, f"{request.name} was trained on it", detect(), on_event)
    photos = find_photos(archive.manifest, request.photos, plan.entry.size)
    if photos is None:
        on_event(
            Note(
                "the photos are not where they were: there is no column of them, and leakage is "
                "measured on the concept's own draws (--photos FOLDER says where they are)",
                "warning",
            )
        )
    with storage("write", plan.sheet.parent):
        plan.sheet.parent.mkdir(parents=True, exist_ok=True)
    backbone = open_base(plan.entry, plan.sampling, on_event)
    tokens = unpack_tokens(archive)
    check_rows_fit(request.name, tokens.rows(), backbone)
    residuals = residual_conditions(backbone, tokens)
    drawn = _draw(backbone, archive, tokens, plan, request.seed, on_event)
    both = [columns[-1] for columns in drawn]
    found = measure_leakage(backbone, photos or both, residuals)
    _write_sheet(plan.sheet, request.name, drawn, photos)
    _write_heat_map(plan.leakage, request.name, found, "photo" if photos else "draw")
    i, j = found.worst
    return InspectResult(
        name=request.name,
        base=plan.entry.id,
        sheet=plan.sheet,
        heat_map=plan.leakage,
        measured_on="photos" if photos else "draws",
        matrix=tuple(tuple(row) for row in found.matrix.tolist()),
        own=found.own,
        leaked=found.leaked,
        worst=(i, j),
    )


def _draw(
    backbone: Backbone,
    archive: Archive,
    tokens: ConceptTokens,
    plan: InspectPlan,
    seed: int,
    on_event: OnEvent,
) -> list[tuple[Image.Image, ...]]:
    """For each photo: the target, its residual, and both, from one noise."""
    name = tokens.concept
    loras, _ = attachments({name: archive}, {name: 1.0}, SUM)
    seeds = [seed + i for i in range(len(tokens.residuals))]
    target = Shot((target_slot(name),), loras, seeds)
    each = [
        Shot(prompt(i), loras, [one])
        for prompt in (partial(residual_only, name), tokens.together)
        for i, one in enumerate(seeds)
    ]
    batch, rows = plan.entry.recipe.drawing.batch, tokens.rows()
    alone, *rest = draw_shots(
        backbone, [target, *each], rows, plan.sampling, batch, STAGE, on_event
    )
    flat = [picture for (picture,) in rest]
    return list(zip(alone, flat[: len(seeds)], flat[len(seeds) :], strict=True))


def _write_sheet(
    path: Path,
    name: str,
    drawn: list[tuple[Image.Image, ...]],
    photos: list[Image.Image] | None,
) -> None:
    tiles, captions = [], []
    for i, columns in enumerate(drawn):
        if photos:
            tiles.append(photos[i])
            captions.append(f"photo {i}")
        tiles += columns
        captions += [f"[{name}]", f"[{name}:residual:{i}]", "both"]
    write_whole(path, png(contact_sheet(tiles, captions, columns=4 if photos else 3)))


def _write_heat_map(path: Path, name: str, found: Leakage, what: str) -> None:
    n = len(found.matrix)
    picture = heat_map(
        found.matrix.tolist(),
        [f"residual {i}" for i in range(n)],
        [f"{what} {j}" for j in range(n)],
        f"{name}: |eps(residual) - eps(null)|, own {found.own:.3f}, leaked {found.leaked:.3f}",
    )
    write_whole(path, png(picture))
