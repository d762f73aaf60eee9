"""`prism report`: all that is known of a concept, gathered from its archive and its evaluation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from prism_cli import paths
from prism_cli.errors import OptionRefused
from prism_cli.files import write_whole
from prism_cli.method.leakage import Leakage
from prism_cli.registry.archive import Archive
from prism_cli.registry.manifest import COMPOSITION, Manifest
from prism_cli.registry.store import Registry
from prism_cli.reports.html import render_html
from prism_cli.reports.markdown import render_markdown
from prism_cli.reports.model import (
    Caption,
    Curve,
    DrawnPrompt,
    Evaluation,
    Matrix,
    Picture,
    Report,
    Setting,
    TokenGrid,
    TokenRow,
)
from prism_cli.services.concept_archive import read_curve
from prism_cli.services.early import check_files_free
from prism_cli.services.evaluation_sheet import sheet_of
from prism_cli.services.evaluation_store import EvaluationStore
from prism_cli.services.events import Note, OnEvent, ended_so, ignore
from prism_cli.services.first_prompt import first_prompt
from prism_cli.services.interference import INTERFERENCE, read_interference
from prism_cli.services.photo_files import LEAST_SIDE
from prism_cli.services.pictures import png
from prism_cli.services.preview import kept_preview
from prism_cli.services.references import ReferencePhotos, match_photos
from prism_cli.services.scoring import opened

SIDE = 256  # px of a picture on the page, at most
SHOWN = 4  # pictures of a prompt on the page, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """What the user asked for. photos: the folder it was learned from, to show them.

    out: the file; None for ``NAME-report.html`` or ``.md`` in the working directory.
    """

    name: str
    photos: Path | None = None
    out: Path | None = None
    markdown: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """What was written. picture: what it draws, beside a Markdown report, where there is one."""

    name: str
    path: Path
    picture: Path | None
    evaluated: bool


def write_report(request: ReportRequest, on_event: OnEvent = ignore) -> ReportResult:
    """Gather what is known and write it.

    Raises ConceptNotFound, PhotosRefused, OptionRefused, NameTaken, StorageFailed.
    """
    suffix = ".md" if request.markdown else ".html"
    default = Path(f"{request.name}-report{suffix}")
    path = request.out or default
    if path.suffix.lower() not in ({".md"} if request.markdown else {".html", ".htm"}):
        raise OptionRefused(
            f"a report is written as {suffix}, not as {path.name or path}",
            hint=f"use --out {path.with_suffix(suffix) if path.name else default}",
        )
    archive = Registry(paths.concepts_dir()).load(request.name)
    store = EvaluationStore.of(archive)
    check_files_free((path,), force=request.force)
    report = gather(archive, store, request.photos, on_event)
    drawn = _drawn_by(archive, store, report.evaluation) if request.markdown else None
    beside = path.with_name(f"{path.stem}-drawn.png") if drawn else None
    check_files_free([beside] if beside else [], force=request.force)
    if report.evaluation is None and not report.composed:
        on_event(
            Note(f"it has not been evaluated: prism eval {request.name} adds scores and pictures")
        )
    if beside is not None and drawn is not None:
        write_whole(beside, drawn)
    if request.markdown:
        text = render_markdown(report, beside.name if beside else None)
    else:
        text = render_html(report)
    write_whole(path, text.encode(errors="backslashreplace"))  # a file's name may be no text
    return ReportResult(
        name=request.name, path=path, picture=beside, evaluated=report.evaluation is not None
    )


def gather(
    archive: Archive, store: EvaluationStore, folder: Path | None, on_event: OnEvent = ignore
) -> Report:
    """The report of a concept, with its photos where their folder is given."""
    manifest = archive.manifest
    photos = ReferencePhotos()
    if folder is not None:  # a page is passed on: photos are in it only where that was asked for
        photos = match_photos(manifest, folder, SIDE, on_event, least=LEAST_SIDE)
    kept = store.read()
    evaluation = kept.named(manifest.name) if kept else None
    preview = kept_preview(archive, on_event)
    return Report(
        name=manifest.name,
        kind=manifest.kind,
        created=manifest.created,
        prism_version=manifest.prism_version,
        base=manifest.base.id,
        revision=manifest.base.revision,
        facts=_facts(manifest),
        preview=_picture(manifest.name, preview, 2 * SIDE) if preview else None,
        references=tuple(
            _picture(f"photo {place}", picture) for place, picture in photos.references.items()
        ),
        held_out=tuple(_picture(f"held out {k}", p) for k, p in enumerate(photos.held_out)),
        curves=tuple(_curves(manifest)),
        captions=tuple(
            Caption(photo=photo.sha256[:12], text=photo.caption, source=photo.caption_source)
            for photo in manifest.photos
        ),
        settings=tuple(
            Setting(
                name=name,
                value="none" if option.value is None else str(option.value),
                source=option.source,
            )
            for name, option in sorted(manifest.options.items())
        ),
        use=_use(manifest),
        evaluation=evaluation,
        grid=_grid(evaluation, store, photos) if evaluation else None,
        drawn=_drawn(evaluation, store) if evaluation else (),
        leakage=_leakage(evaluation) if evaluation else None,
        interference=read_interference(manifest.metrics.get(INTERFERENCE)),
        composed=bool(manifest.parents),
    )


def _drawn_by(
    archive: Archive, store: EvaluationStore, evaluation: Evaluation | None
) -> bytes | None:
    """A PNG of what the concept draws: the evaluation's, else the preview, where it can be read."""
    if evaluation is not None:
        there = tuple(
            each
            for each in evaluation.prompts
            if all(store.picture(name).is_file() for name in each.pictures)
        )
        if there:
            return sheet_of(replace(evaluation, prompts=there), store)
    preview = kept_preview(archive, ignore)  # gathering the report says what is wrong with it
    return png(preview) if preview else None


def _facts(manifest: Manifest) -> dict[str, str]:
    lora = manifest.lora
    vectors = "vector" if manifest.token_length == 1 else "vectors"
    count = len(manifest.photos)
    learned = {
        "learned from": f"{count} photo{'' if count == 1 else 's'}",
        "target": f"{manifest.token_length} {vectors}",
    }
    composed = {"composed of": ", ".join(parent.name for parent in manifest.parents)}
    return {
        **(composed if manifest.parents else learned),
        "LoRA": f"rank {lora.rank}" if lora else "none",
        "seed": str(manifest.seed),
        "base": f"{manifest.base.id}, revision {manifest.base.revision[:12]}",
    }


_DRAW = {
    "subject": "Draw it; another noun behind it moves it there.",
    "style": "Draw something else in it.",
    "action": "Have something else do it.",
    COMPOSITION: "Draw it.",
}


def _use(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    name, base = manifest.name, manifest.base.id
    return (
        (f'prism gen "{first_prompt(name, manifest.kind, base)}" -n 4', _DRAW[manifest.kind]),
        (
            f'prism gen "{first_prompt(f"{name}:0.7", manifest.kind, base)}" --seed 7',
            "With its LoRA at a weight of 0.7.",
        ),
        (
            f'prism gen "[{name}:residual:0]"',
            "What its first photo held besides it.",
        ),
    )[: 3 if manifest.residual_lengths else 2]


def _curves(manifest: Manifest) -> list[Curve]:
    """The loss of each stage, as far as the archive, perhaps another program's, has it."""
    curves = []
    for stage in ("tokens", "lora"):
        steps = manifest.metrics.get(f"{stage}.steps")
        losses = read_curve(manifest.metrics.get(f"{stage}.curve", ""))
        if not isinstance(steps, int) or not losses:
            continue
        gaps = max(len(losses) - 1, 1)
        ended = str(manifest.metrics.get(f"{stage}.ended", ""))
        curves.append(
            Curve(
                stage=stage,
                ended=f"{ended_so(ended)} after {steps} steps",
                points=tuple((round(k * steps / gaps), loss) for k, loss in enumerate(losses)),
            )
        )
    return curves


def _leakage(evaluation: Evaluation) -> Matrix | None:
    """The residuals on the photos, with what to look for."""
    if evaluation.leakage is None:
        return None
    found = Leakage(torch.tensor(evaluation.leakage))
    return Matrix(
        labels=tuple(f"photo {i}" for i in range(len(evaluation.leakage))),
        values=evaluation.leakage,
        note=(
            "How far the residual tokens of one photo (row) move the prediction for another "
            "(column) from that of an empty prompt. What they say of their own photo, on the "
            f"diagonal, is wanted: {found.own:.3g} on average. What they say of the others is the "
            f"target's to say: {found.leaked:.3g}."
        ),
    )


def _grid(
    evaluation: Evaluation, store: EvaluationStore, photos: ReferencePhotos
) -> TokenGrid | None:
    target = _there(_read(store, evaluation.target[:SHOWN], "target"))
    residuals = _read(store, evaluation.residuals, "residual")
    both = _read(store, evaluation.both, "both")
    if not target:
        return None
    return TokenGrid(
        target=target,
        rows=tuple(
            TokenRow(
                reference=_picture(f"photo {place}", photos.references[place])
                if place in photos.references
                else None,
                residual=residual,
                both=together,
            )
            for place, (residual, together) in enumerate(zip(residuals, both, strict=True))
            if residual and together
        ),
    )


def _drawn(evaluation: Evaluation, store: EvaluationStore) -> tuple[DrawnPrompt, ...]:
    drawn = []
    for result in evaluation.prompts:
        pictures = _read(store, result.pictures[:SHOWN], result.prompt)
        (base,) = _read(store, result.base_pictures[:1], result.plain)
        if pictures[0] and base:  # which are from the same seed
            drawn.append(DrawnPrompt(result=result, pictures=_there(pictures), base=base))
    return tuple(drawn)


def _read(store: EvaluationStore, names: Sequence[str], label: str) -> list[Picture | None]:
    """The pictures in their places, None for one that is gone; StorageFailed for a damaged one."""
    files = [store.picture(name) for name in names]
    return [_picture(label, opened(f)) if f.is_file() else None for f in files]


def _there(pictures: Sequence[Picture | None]) -> tuple[Picture, ...]:
    return tuple(picture for picture in pictures if picture is not None)


def _picture(label: str, picture: Image.Image, side: int = SIDE) -> Picture:
    """A picture for the page: WebP, which every browser shows, without metadata."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=88, method=4)
    return Picture(
        label=label,
        data=buffer.getvalue(),
        mime="image/webp",
        width=small.width,
        height=small.height,
    )
