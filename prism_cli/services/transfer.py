"""`prism transfer`: a concept on other kinds of object (supplement §13, Fig. 13).

A concept is learned without a class noun, so that "a photo of [mybook] box" can be asked for. How
much of the concept and how much of the noun comes through is a trade that the LoRA's weight makes:
it is swept, and where there is a judge the best weight is picked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from safetensors.torch import save

from prism_cli import paths
from prism_cli.backbones.base import Prompt, SamplingPlan
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.errors import NameTaken, OptionRefused, PromptRefused, storage
from prism_cli.evaluation_prompts import worded
from prism_cli.files import write_whole
from prism_cli.method.composition import Factors, factors_of, state_of
from prism_cli.method.conditions import target_slot, with_concept
from prism_cli.names import check_name
from prism_cli.placeholders import MOST_WEIGHT
from prism_cli.registry.archive import Archive, pack
from prism_cli.registry.container import LORA, PREVIEW
from prism_cli.registry.manifest import Manifest
from prism_cli.registry.store import Registry
from prism_cli.reports.contact_sheet import contact_sheet, grid
from prism_cli.runtime import detect
from prism_cli.services.concept_archive import check_rows_fit, unpack_lora, unpack_rows
from prism_cli.services.early import check_drawing, check_files_free, check_folder, check_text
from prism_cli.services.events import Note, OnEvent, ignore
from prism_cli.services.introductions import introduce
from prism_cli.services.pictures import png
from prism_cli.services.preview import kept_preview
from prism_cli.services.recognition import NO_JUDGE, Judge, judge_of, judged
from prism_cli.services.references import find_photos
from prism_cli.services.studio import Shot, draw_shots, open_base, plan_of
from prism_cli.services.trained_base import common_base

STAGE = "transfer"
TEMPLATE = "a photo of * {noun}"  # supplement, Fig. 13: "A photo of [target] box"
WEIGHTS = (0.2, 0.4, 0.7, 1.0)
_LOST = "at no weight do both the concept and a noun come through"
_MOST = 400  # pictures of one transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequest:
    """What the user asked for. keep: a name.

    template: * is the concept, {noun} each noun; None for that of the concept's kind.
    """

    name: str
    nouns: tuple[str, ...]
    weights: tuple[float, ...] = WEIGHTS
    count: int = 3  # seeds for each noun and weight
    template: str | None = None
    photos: Path | None = None
    out: Path | None = None  # a folder
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    keep: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """What would be drawn, and where it would be written. grids: a file for each weight."""

    entry: BaseEntry
    template: str
    sampling: SamplingPlan
    pictures: int
    grids: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a noun came out at a weight: the concept's likeness, and the noun's presence, 0 to 1."""

    weight: float
    noun: str
    likeness: float
    presence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """What was drawn. picked: the weight of the best trade; see `_pick` for None.

    likeness, presence: means at that weight. unscored: why there is no pick. kept: a new archive.
    """

    name: str
    base: str
    grids: tuple[Path, ...]
    weights: tuple[float, ...]
    scores: tuple[Score, ...]
    picked: float | None
    likeness: float | None
    presence: float | None
    judge: str
    unscored: str
    kept: Path | None


def plan_transfer(request: TransferRequest) -> TransferPlan:
    """Everything that is known before the base is loaded.

    Raises ConceptNotFound, BaseMismatch, OptionRefused, PromptRefused, NameTaken.
    """
    registry = Registry(paths.concepts_dir())
    archive = registry.load(request.name)
    _check(request, archive.manifest)
    if request.keep and check_name(request.keep) in registry.names() and not request.force:
        raise NameTaken(
            f"there is a concept called {request.keep!r}",
            hint="choose another --keep, or replace it with --force",
        )
    folder = request.out or Path()
    grids = tuple(
        folder / f"{request.name}-transfer-{weight:g}-{request.seed}.png"
        for weight in _weights(request)
    )
    check_files_free(grids, force=request.force)
    check_drawing(request.steps, request.guidance)
    check_text(*request.nouns, request.template)
    if request.photos is not None:
        check_folder(request.photos)
    entry = common_base({request.name: archive})
    return TransferPlan(
        entry=entry,
        template=request.template or _template(archive.manifest.kind, entry),
        sampling=plan_of(entry, request.steps, request.guidance),
        pictures=len(grids) * len(request.nouns) * request.count,
        grids=grids,
    )


def transfer(request: TransferRequest, on_event: OnEvent = ignore) -> TransferResult:
    """Draw every noun at every weight, write a grid of each weight, and pick one if it can be."""
    plan, registry = plan_transfer(request), Registry(paths.concepts_dir())
    archive = registry.load(request.name)
    introduce(plan.entry, f"{request.name} was trained on it", detect(), on_event)
    photos = find_photos(archive.manifest, request.photos, plan.entry.size)
    judge = judge_of(plan.entry)
    if judge is None:
        on_event(Note(NO_JUDGE, "warning"))
    with storage("write", plan.grids[0].parent):
        plan.grids[0].parent.mkdir(parents=True, exist_ok=True)
    alone, drawn = _draw(request, plan, archive, on_event)
    first = None if photos else kept_preview(archive, on_event)
    references = photos or ([first] if first else alone)
    for path, pictures in zip(plan.grids, drawn, strict=True):
        write_whole(path, png(_grid(references, request.nouns, pictures)))
    scores = _scores(judge, request, archive.manifest.kind, photos or alone, drawn)
    picked = _pick(scores)
    at = [score for score in scores if score.weight == picked]
    kept, weights = None, _weights(request)
    lost = bool(scores) and picked is None
    if request.keep and (len(weights) == 1 or not lost):
        place = 0 if picked is None else weights.index(picked)
        preview = png(contact_sheet([pictures[0] for pictures in drawn[place]]))
        kept = registry.add(
            weighted(archive, request.keep, weights[place], preview),
            request.keep,
            replace=request.force,
        ).path
    return TransferResult(
        name=request.name,
        base=plan.entry.id,
        grids=plan.grids,
        weights=_weights(request),
        scores=scores,
        picked=picked,
        likeness=sum(score.likeness for score in at) / len(at) if at else None,
        presence=sum(score.presence for score in at) / len(at) if at else None,
        judge=judge.name if judge else "",
        unscored=(_LOST if lost else "") if judge else NO_JUDGE,
        kept=kept,
    )


def weighted(archive: Archive, name: str, weight: float, preview: bytes) -> bytes:
    """The archive of the same concept whose LoRA at weight 1 is this one's at `weight`.

    preview: a PNG of what it draws so.
    """
    lora = {
        layer: Factors(f.A, weight * f.B) for layer, f in factors_of(unpack_lora(archive)).items()
    }
    members = {
        **archive.members, LORA: save(state_of(lora)), PREVIEW: preview
    }  # fmt: skip
    metrics: Mapping[str, float | int | str] = {
        **archive.manifest.metrics,
        "transfer.weight": weight,
    }
    return pack(replace(archive.manifest, name=name, metrics=metrics), members)


def _check(request: TransferRequest, manifest: Manifest) -> None:
    pictures = len(request.weights) * len(request.nouns) * request.count
    has_lora, problem, hint = manifest.lora is not None, "", ""
    if manifest.parents:
        problem = f"{request.name!r} is a composition, and one concept is moved at a time"
        hint = f"for example: prism transfer {manifest.parents[0].name} {' '.join(request.nouns)}"
    elif request.keep == request.name:
        problem, hint = f"{request.keep!r} is what is moved", "choose another --keep"
    elif not has_lora and len(set(request.weights)) > 1:
        problem = f"{request.name!r} has no LoRA, whose weight could be swept"
        hint = "add --weights 1"
    elif request.keep and not has_lora:
        problem, hint = f"{request.name!r} has no LoRA to keep at a weight", "leave out --keep"
    elif request.keep and len(set(request.weights)) > 1 and not judged(manifest.base.id):
        problem = "nobody here can choose the weight that is kept"
        hint = "draw the grids without --keep, look, then give one: "
        hint += f"--weights 0.7 --keep {request.keep}"
    elif not all(noun.strip() for noun in request.nouns):
        problem, hint = "a noun is empty", "name one, as in: prism transfer mybook box"
    elif not request.nouns or not request.weights:
        problem, hint = "there is nothing to draw", "name a noun, as in: prism transfer mybook box"
    elif not all(abs(weight) <= MOST_WEIGHT for weight in request.weights):
        problem = f"a weight is between -{MOST_WEIGHT} and {MOST_WEIGHT}"
        hint = "for example --weights 0.4,0.7,1"
    elif request.count < 1 or pictures > _MOST:
        problem = f"that would be {pictures} pictures"
        hint = f"draw between 1 and {_MOST} with --count, fewer nouns or weights"
    if problem:
        raise OptionRefused(problem, hint=hint)
    given = request.template
    if given is not None and (given.count("*") != 1 or "{noun}" not in given):
        raise PromptRefused(
            f"the template {given!r} does not have one * for the concept and a {{noun}}",
            hint=f"for example: --template '{TEMPLATE}'",
        )


def _template(kind: str, entry: BaseEntry) -> str:
    """The paper's for a subject; a noun in the style; a noun with an action behind it."""
    styled = entry.in_style.replace("{}", "a {noun}")
    return {"style": styled, "action": "a {noun} *"}.get(kind, TEMPLATE)


def _weights(request: TransferRequest) -> tuple[float, ...]:
    return tuple(dict.fromkeys(request.weights))


def _draw(
    request: TransferRequest, plan: TransferPlan, archive: Archive, on_event: OnEvent
) -> tuple[list[Image.Image], list[list[list[Image.Image]]]]:
    """The concept alone, a picture a seed; and [weight][noun][seed]."""
    backbone = open_base(plan.entry, plan.sampling, on_event)
    rows, state = unpack_rows(archive), unpack_lora(archive)
    check_rows_fit(request.name, rows, backbone)
    seeds = [request.seed + k for k in range(request.count)]

    def at(weight: float, prompts: Sequence[Prompt]) -> list[Shot]:
        loras = {request.name: (state, weight)} if state else {}
        return [Shot(prompt, loras, seeds) for prompt in prompts]

    asked = [with_concept(_said(plan.template, noun), request.name) for noun in request.nouns]
    shots = at(1.0, [(target_slot(request.name),)])
    for weight in _weights(request):
        shots += at(weight, asked)
    batch = plan.entry.recipe.drawing.batch
    alone, *rest = draw_shots(backbone, shots, rows, plan.sampling, batch, STAGE, on_event)
    n = len(request.nouns)
    return alone, [rest[k : k + n] for k in range(0, len(rest), n)]


def _said(template: str, noun: str) -> str:
    return worded(template, noun.replace("*", ""), "{noun}")


def _grid(
    references: Sequence[Image.Image],
    nouns: Sequence[str],
    pictures: Sequence[Sequence[Image.Image]],
) -> Image.Image:
    """References on the left, then a column for each noun."""
    return grid({"reference": references, **dict(zip(nouns, pictures, strict=True))})


def _scores(
    judge: Judge | None,
    request: TransferRequest,
    kind: str,
    references: Sequence[Image.Image],
    drawn: Sequence[Sequence[Sequence[Image.Image]]],
) -> tuple[Score, ...]:
    if judge is None:
        return ()
    return tuple(
        Score(
            weight=weight,
            noun=noun,
            likeness=judge.likeness(pictures, references, kind),
            presence=judge.presence(pictures, noun),
        )
        for weight, columns in zip(_weights(request), drawn, strict=True)
        for noun, pictures in zip(request.nouns, columns, strict=True)
    )


def _pick(scores: Sequence[Score]) -> float | None:
    """The weight of the largest mean product of both scores: a noun without the concept is none.

    None where nobody has judged, and where at no weight any noun has both.
    """
    trades: dict[float, float] = {}
    for score in scores:
        trade = max(score.likeness, 0.0) * score.presence
        trades[score.weight] = trades.get(score.weight, 0.0) + trade
    best = max(trades, key=lambda weight: trades[weight], default=None)
    return best if best is not None and trades[best] > 0 else None
