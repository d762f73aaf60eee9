"""`prism gen`: a prompt that may name concepts in, pictures out."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from PIL import Image

from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone, SamplingPlan
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.backbones.footprint import Footprint
from prism_cli.errors import OptionRefused, PromptRefused, storage
from prism_cli.files import write_new, write_whole
from prism_cli.placeholders import MOST_WEIGHT
from prism_cli.reports.contact_sheet import as_tile, contact_sheet
from prism_cli.runtime import Runtime, detect, peak_memory
from prism_cli.services.attaching import PER_TOKEN, SUM, attach, chosen_method
from prism_cli.services.bases import Ahead
from prism_cli.services.drawing import draw
from prism_cli.services.early import file_taken
from prism_cli.services.events import Note, OnEvent, StageBegan, StageEnded, StageMoved, ignore
from prism_cli.services.interference import SHARED_WEIGHT
from prism_cli.services.introductions import compiling, introduce
from prism_cli.services.memory_needs import Work
from prism_cli.services.memory_plan import fit, fits_anywhere, footprint_of
from prism_cli.services.picture_metadata import PictureRecord, read_record, text_chunks
from prism_cli.services.picture_paths import free_path, names_file, picture_paths
from prism_cli.services.pictures import png
from prism_cli.services.scene import Scene, read_scene
from prism_cli.settings import checked

T = TypeVar("T")

STAGE = "drawing"
MAX_SEED = 2**32 - 1  # what other tools take


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawRequest:
    """What the user asked for; None is the base's default, or the replayed picture's value."""

    prompt: str | None = None
    count: int = 1
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    size: tuple[int, int] | None = None  # width, height in pixels
    scale: float | None = None  # of every LoRA whose weight the prompt does not give
    method: str | None = None  # how several LoRAs act together: services.attaching.METHODS
    out: Path | None = None  # a file, or a folder
    base: str | None = None
    replay: Path | None = None  # a picture to draw again
    force: bool = False
    compiled: bool = False
    ahead: Ahead | None = None  # a dry run's base, where it is not here


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture on disk."""

    path: Path
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawResult:
    """What was drawn. sheet: all of it on one picture, when there is more than one.

    planned_memory: None for what fits anywhere.
    """

    pictures: tuple[Drawn, ...]
    sheet: Path | None
    base: str
    prompt: str
    peak_memory: int
    planned_memory: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Everything that is known before the base is loaded. targets: a file for each seed."""

    request: DrawRequest
    prompt: str
    scene: Scene
    method: str
    runtime: Runtime
    plan: SamplingPlan
    seeds: list[int]
    targets: list[Path]

    @property
    def batch(self) -> int:
        """Pictures drawn at once, at most."""
        return min(self.scene.entry.recipe.drawing.batch, len(self.seeds))

    @property
    def work(self) -> Work:
        """What the drawing asks of its base."""
        recipe = self.scene.entry.recipe
        return Work(
            size=self.plan.size,
            recipe=replace(recipe, drawing=replace(recipe.drawing, steps=self.plan.steps)),
            pictures=self.batch,
            guided=self.plan.guidance != 1,
        )


def generate(request: DrawRequest, on_event: OnEvent = ignore) -> DrawResult:
    """Draw `request.count` pictures, each from its own seed, and write them beside a contact sheet.

    Raises ConceptNotFound, PromptRefused, BaseMismatch, OptionRefused, NameTaken, TooLarge,
    StorageFailed.
    """
    drawing = prepare_drawing(request, on_event)
    request, scene = drawing.request, drawing.scene
    runtime, fitted = drawing.runtime, None
    if not fits_anywhere(scene.entry, drawing.work):
        fitted = fit(footprint_of(scene.entry), drawing.work, on_event)
        runtime = replace(fitted.runtime(runtime.device), compiled=request.compiled)
    for folder in {path.parent for path in drawing.targets}:
        with storage("write", folder):
            folder.mkdir(parents=True, exist_ok=True)
    backbone = catalog.load(scene.entry, runtime)
    catalog.remember(scene.entry)
    drawn: list[Drawn] = []
    tiles: list[Image.Image] = []
    for picture in _draw_all(backbone, drawing, on_event):  # kept as they come
        seed = drawing.seeds[len(drawn)]
        record = _record(drawing, seed, backbone.sampler)
        path = _keep(drawing, len(drawn), png(picture, text_chunks(record)))
        drawn.append(Drawn(path, seed))
        tiles.append(as_tile(picture))
    sheet = _write_sheet(tiles, drawn, request.force) if len(drawn) > 1 else None
    return DrawResult(
        pictures=tuple(drawn),
        sheet=sheet,
        base=scene.entry.id,
        prompt=drawing.prompt,
        peak_memory=peak_memory(),
        planned_memory=fitted.device_bytes if fitted else None,
    )


def prepare_drawing(request: DrawRequest, on_event: OnEvent = ignore) -> Drawing:
    """Check everything that can be checked before a weight is loaded, and say what was chosen."""
    replayed = read_record(request.replay) if request.replay else None
    if replayed is not None:
        request = _filled(request, replayed)
    if request.prompt is None:
        raise PromptRefused(
            "there is nothing to draw", hint='for example: prism gen "A [mydog] box"'
        )
    if request.scale is not None and not abs(request.scale) <= MOST_WEIGHT:  # which NaN is not
        raise OptionRefused(
            f"--scale is between -{MOST_WEIGHT} and {MOST_WEIGHT}, not {request.scale:g}",
            hint="for example --scale 0.7",
        )
    scene = read_scene(
        request.prompt,
        request.negative or "",
        request.scale,
        request.base,
        (replayed.base, replayed.revision) if replayed else ("mini", ""),
        request.ahead,
    )
    if replayed is not None:
        for difference in _differences(scene, replayed):
            on_event(Note(difference, "warning"))
    method = chosen_method(request.method, scene.archives, scene.entry)
    if method == PER_TOKEN and request.compiled:
        raise OptionRefused(
            "compiled blocks cannot confine a LoRA to its token", hint="leave out --compile"
        )
    runtime = detect()
    introduce(scene.entry, _why(request, scene), runtime, on_event)
    if request.method is None and method == SUM and (advice := _crowded(request, scene)):
        on_event(Note(advice))
    if request.compiled:
        runtime = compiling(runtime, on_event)
    plan = _plan(request, scene.entry)
    _check_negative(request.negative, scene.entry, plan)
    _check_size(plan, Footprint(scene.entry.folder).size_multiple())
    first = secrets.randbelow(MAX_SEED - request.count) if request.seed is None else request.seed
    seeds = [(first + k) % (MAX_SEED + 1) for k in range(request.count)]
    return Drawing(
        request=request,
        prompt=request.prompt,
        scene=scene,
        method=method,
        runtime=runtime,
        plan=plan,
        seeds=seeds,
        targets=picture_paths(request.out, scene.archives, seeds, force=request.force),
    )


def _keep(drawing: Drawing, place: int, data: bytes) -> Path:
    """Write a picture where it was to go; where another process was faster, beside that."""
    request, path = drawing.request, drawing.targets[place]
    if request.force:
        write_whole(path, data)
        return path
    while not write_new(path, data):
        if request.out is not None and names_file(request.out):
            raise file_taken(path)
        path = picture_paths(request.out, drawing.scene.archives, drawing.seeds)[place]
    return path


def _draw_all(backbone: Backbone, drawing: Drawing, on_event: OnEvent) -> Iterator[Image.Image]:
    """Draw the scene once per seed, in batches; BaseMismatch if a concept does not fit the base.

    Its two prompts are read once, and the text encoders are let go.
    """
    scene, plan = drawing.scene, drawing.plan
    rows = attach(backbone, scene.archives, scene.weights, drawing.method)
    cond = backbone.encode_text([scene.prompt], rows)
    null = backbone.encode_text([scene.negative], rows)
    backbone.release_text_encoders()
    batches = [
        drawing.seeds[k : k + drawing.batch] for k in range(0, len(drawing.seeds), drawing.batch)
    ]
    on_event(StageBegan(STAGE, plan.steps * len(batches)))
    for k, some in enumerate(batches):
        each = [0] * len(some)
        for progress in draw(backbone, cond.take(each), null.take(each), some, plan):
            on_event(StageMoved(STAGE, k * plan.steps + progress.step))
            yield from progress.pictures
    on_event(StageEnded(STAGE, plan.steps * len(batches), "done"))


def _why(request: DrawRequest, scene: Scene) -> str:
    if request.base:
        return "named with --base"
    return (
        f"{next(iter(scene.archives))} was trained on it"
        if scene.archives
        else "that picture was drawn on it"
        if request.replay
        else "no other was named"
    )


def _crowded(request: DrawRequest, scene: Scene) -> str:
    """What to try where a sum of LoRAs weighs more than two have room for (docs/results.md)."""
    loras = {
        name: weight
        for name, weight in scene.weights.items()
        if weight and scene.archives[name].manifest.lora is not None
    }
    total, room = sum(map(abs, loras.values())), 2 * SHARED_WEIGHT
    if len(loras) < 2 or total <= room + 1e-9:
        return ""
    scale = 100 * room / total
    lower = " ".join(f"[{name}:{int(scale * weight) / 100:g}]" for name, weight in loras.items())
    other = ", or --method per-token" if _confinable(request, scene) else ""
    return f"if the concepts spoil each other, lower their weights: {lower}{other}"


def _confinable(request: DrawRequest, scene: Scene) -> bool:
    """Whether `--method per-token` could draw it."""
    try:
        chosen_method(PER_TOKEN, scene.archives, scene.entry)
    except OptionRefused:
        return False
    return not request.compiled


def _plan(request: DrawRequest, entry: BaseEntry) -> SamplingPlan:
    defaults = entry.recipe.drawing
    if not 1 <= request.count <= 1000:
        raise OptionRefused(f"--count must be between 1 and 1000, not {request.count}")
    if request.seed is not None and not 0 <= request.seed <= MAX_SEED:
        raise OptionRefused(f"--seed must be between 0 and {MAX_SEED}, not {request.seed}")
    width, height = request.size or (entry.size, entry.size)
    return SamplingPlan(
        steps=checked("drawing.steps", defaults.steps if request.steps is None else request.steps),
        guidance=checked(
            "drawing.guidance", defaults.guidance if request.guidance is None else request.guidance
        ),
        size=(height, width),
    )


def _check_size(plan: SamplingPlan, multiple: int) -> None:
    if any(side < multiple or side % multiple or side > 4096 for side in plan.size):
        raise OptionRefused(
            f"a picture of {plan.size[1]}x{plan.size[0]} px cannot be drawn on this base",
            hint=f"width and height must be multiples of {multiple}, up to 4096",
        )


def _check_negative(negative: str | None, entry: BaseEntry, plan: SamplingPlan) -> None:
    """OptionRefused for a negative prompt that would do nothing: it acts by guidance alone."""
    without = 'draw without it: --negative ""'  # also over that of a picture drawn again
    if negative and entry.one_prompt:
        raise OptionRefused(
            f"{entry.id} takes no negative prompt: {entry.one_prompt}", hint=without
        )
    if negative and plan.guidance == 1:
        raise OptionRefused(
            "a negative prompt does nothing at guidance 1",
            hint=f"set --guidance above 1, or {without}",
        )


def _filled(request: DrawRequest, record: PictureRecord) -> DrawRequest:
    """`request` with the replayed picture's value wherever it has none of its own."""
    return replace(
        request,
        prompt=_first(request.prompt, record.prompt),
        negative=_first(request.negative, record.negative),
        seed=_first(request.seed, record.seed),
        steps=_first(request.steps, record.steps),
        guidance=_first(request.guidance, record.guidance),
        size=_first(request.size, (record.width, record.height)),
        scale=_first(request.scale, record.scale),
        method=_first(request.method, record.method),
    )


def _first(given: T | None, otherwise: T) -> T:
    return otherwise if given is None else given


def _differences(scene: Scene, record: PictureRecord) -> list[str]:
    """Why the picture will not be the replayed one, a sentence each."""
    found = [
        f"{name!r} has been trained again since that picture was drawn"
        for name, archive in scene.archives.items()
        if name in record.concepts and record.concepts[name] != archive.manifest.learned
    ]
    if record.revision != scene.entry.revision:
        found.append(
            f"that picture was drawn on {record.base} revision {record.revision}, "
            f"not on {scene.entry.id} revision {scene.entry.revision}"
        )
    return found


def _record(drawing: Drawing, seed: int, sampler: str) -> PictureRecord:
    request, scene, plan = drawing.request, drawing.scene, drawing.plan
    return PictureRecord(
        prompt=request.prompt or "",
        negative=request.negative or "",
        seed=seed,
        steps=plan.steps,
        guidance=plan.guidance,
        width=plan.size[1],
        height=plan.size[0],
        scale=1.0 if request.scale is None else request.scale,
        sampler=sampler,
        method=drawing.method,
        base=scene.entry.id,
        revision=scene.entry.revision,
        concepts={name: archive.manifest.learned for name, archive in scene.archives.items()},
    )


def _write_sheet(pictures: Sequence[Image.Image], drawn: Sequence[Drawn], force: bool) -> Path:
    first = drawn[0].path
    wanted = first.with_stem(f"{first.stem}-sheet")
    sheet = png(contact_sheet(pictures, [f"seed {one.seed}" for one in drawn]))
    if force:
        write_whole(wanted, sheet)
        return wanted
    while not write_new(path := free_path(wanted), sheet):
        pass  # another process has just taken that name
    return path
