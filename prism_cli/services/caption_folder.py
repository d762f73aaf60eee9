"""`prism caption`: the captions of a folder, to look at or to edit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prism_cli.captioners.base import PLAIN, Caption
from prism_cli.captioners.files import SIDECAR, sidecar_of
from prism_cli.errors import CaptionRefused, PrismError
from prism_cli.files import write_whole
from prism_cli.services.bases import choose, gpu_memory
from prism_cli.services.caption import Problem, caption_photos, check_model
from prism_cli.services.events import Note, OnEvent, PhotoNote, ignore
from prism_cli.services.photos import Photo, take_in
from prism_cli.settings import resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRequest:
    """What the user asked for. flags: settings under dotted names. force: files do not count."""

    folder: Path
    base: str | None = None
    write: bool = False
    force: bool = False
    flags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoCaption:
    """One line of the result. written: the file that was made or replaced for it."""

    file: str
    caption: str
    source: str
    words: int
    written: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionResult:
    """A caption for each photo that has one or needs none, and the reason for each other."""

    captions: tuple[PhotoCaption, ...]
    problems: tuple[Problem, ...]


def caption_folder(request: CaptionRequest, on_event: OnEvent = ignore) -> CaptionResult:
    """Find the captions as a training would, and with `write` put them beside their photos.

    Raises what `caption_photos` raises.
    """
    entry, why = choose(request.base, cuda=gpu_memory() is not None)
    settings = resolve(entry.recipe, {}, request.flags)
    check_model(settings)
    on_event(Note(f"base: {entry.id} ({why})"))
    intake = take_in(
        request.folder, size=entry.size, keep_similar=True, minimum=1, on_event=on_event
    )
    for finding in intake.findings:
        on_event(PhotoNote(finding.file, finding.treatment, finding.sentence, finding.used))
    captioned = caption_photos(
        intake.photos,
        request.folder,
        settings.recipe.captions,
        entry,
        on_event,
        files=not request.force,
    )
    if captioned.shared:
        on_event(Note(_about_look(captioned.shared, request)))
    failed = {problem.file: problem for problem in captioned.problems}
    shared = Counter(sidecar_of(photo.path) for photo in intake.photos)
    lines: list[PhotoCaption] = []
    for photo, caption in zip(intake.photos, captioned.captions, strict=True):
        if photo.path.name in failed:
            continue
        written = None
        try:
            if request.write and caption.source not in (SIDECAR, PLAIN.source):
                written = _write(photo, caption, shared[sidecar_of(photo.path)])
        except PrismError as error:
            failed[photo.path.name] = Problem(photo.path.name, error)
        lines.append(_line(photo, caption, written))
    return CaptionResult(captions=tuple(lines), problems=tuple(failed.values()))


def _about_look(look: str, request: CaptionRequest) -> str:
    """What becomes of a look that the photos share and no caption has."""
    said = f"the photos share {look!r}, which no caption says"
    if request.write:
        return f"{said}: to train a subject from these files, add --class {look!r}"
    without = "without caption files " if request.force else ""
    return f"{said}: {without}a subject's target starts as it"


def _line(photo: Photo, caption: Caption, written: Path | None) -> PhotoCaption:
    return PhotoCaption(
        file=photo.path.name,
        caption=caption.text,
        source=caption.source,
        words=len(caption.text.split()),
        written=written,
    )


def _write(photo: Photo, caption: Caption, photos: int) -> Path:
    """Put the caption into photo.txt; the caller has made sure that no caption is lost."""
    path = sidecar_of(photo.path)
    if photos > 1:
        raise CaptionRefused(
            f"{photos} photos would have their caption in {path}",
            hint="rename all but one of them",
        )
    write_whole(path, f"{caption.text}\n".encode())
    return path
