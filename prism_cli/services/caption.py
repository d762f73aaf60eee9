"""Where a photo's caption comes from: files, Gemini, a local model, the base's own words, nowhere.

Each photo is resolved on its own. A caption in a file wins, since a person may have written it;
what is asked of a model is asked once, and checked here for the paper's length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prism_cli.backbones.catalog import BaseEntry
from prism_cli.captioners.base import PLAIN, Caption, Captioner, Picture
from prism_cli.captioners.files import CaptionFiles, sidecar_of
from prism_cli.errors import (
    CaptionRefused,
    CaptionsFailed,
    OptionRefused,
    PrismError,
    StorageFailed,
)
from prism_cli.gemini_client import SIDE
from prism_cli.services import caption_cache, local_captioner
from prism_cli.services.asking import ask_each
from prism_cli.services.events import Note, OnEvent, StageBegan, StageEnded, StageMoved, ignore
from prism_cli.services.photo_files import Finding, read_picture
from prism_cli.services.photos import Photo
from prism_cli.settings import CaptionOptions, Resolved

STAGE = "captions"
WORDS = range(8, 33)  # of a caption (supplement, section 10)
SCORER = "scorer"  # the folder of a practice base that holds it
NAMED = 3  # photos or files that a sentence names
READ_SIZE = 512  # px; half of the short side at which models are shown a photo
_AT_ONCE = 4  # questions to Gemini: a folder of photos in the time of two or three


@dataclass(frozen=True, slots=True)
class Problem:
    """A photo that should have a caption and has none, and why."""

    file: str
    error: PrismError


@dataclass(frozen=True, slots=True)
class Captioned:
    """captions: one a photo, `PLAIN` where there is none. problems: of which that is a failure.

    unasked: how many photos a model would be asked about, and was not. shared: the look that
    the photos share and no caption has, where the base itself has read every one of them.
    """

    captions: tuple[Caption, ...]
    problems: tuple[Problem, ...] = ()
    unasked: int = 0
    shared: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    """The captioner for photos without a file; None for none. at_once: questions it can bear."""

    captioner: Captioner | None
    at_once: int = 1
    kept: bool = False  # whether its answers cost so much that they are
    leaves: bool = False  # whether the photos leave this machine for it


def check_model(settings: Resolved) -> None:
    """OptionRefused for a flag that names Gemini's model where Gemini is not asked."""
    source = settings.recipe.captions.source
    if settings.sources["captions.model"] == "flag" and source != "gemini":
        raise OptionRefused(
            f"a model of Gemini's is named, and captions come from {source!r}",
            hint="add --captions gemini, or leave out the model",
        )


def caption_photos(
    photos: Sequence[Picture],
    folder: Path,
    options: CaptionOptions,
    entry: BaseEntry,
    on_event: OnEvent = ignore,
    *,
    files: bool = True,
    ask: bool = True,
) -> Captioned:
    """Find a caption for each of the photos in `folder`.

    files: whether caption files count. ask: whether models may be asked; else only what they have
    answered before is known. Raises CaptionRefused for a file about the whole folder, and a
    GeminiUnusable or CaptionerNotDownloaded where the captioner cannot be asked at all.
    """
    found: dict[int, Caption] = {}
    problems: dict[int, PrismError] = {}
    if files and options.source != "none":
        found, problems = _read_files(photos, folder, on_event)
    rest = {k: photo for k, photo in enumerate(photos) if k not in found and k not in problems}
    plan = _plan(options, entry, list(rest.values())) if rest else _Plan(None)
    unasked: set[int] = set()
    if plan.captioner is not None:
        described = _describe(plan, plan.captioner, rest, ask, on_event)
        for k, answer in described.items():
            if isinstance(answer, PrismError):
                problems[k] = answer
            elif answer:
                found[k] = Caption(answer, plan.captioner.source)
        unasked = rest.keys() - described.keys()
    captions = tuple(found.get(k, PLAIN) for k in range(len(photos)))
    counts = Counter(c.source for k, c in enumerate(captions) if k not in {*problems, *unasked})
    if counts:
        said = ", ".join(f"{count} {source}" for source, count in sorted(counts.items()))
        on_event(Note(f"captions: {said} (--captions {options.source})"))
    return Captioned(
        captions,
        tuple(Problem(photos[k].path.name, problems[k]) for k in sorted(problems)),
        len(unasked),
        plan.captioner.shared if plan.captioner and len(rest) == len(photos) else "",
    )


def all_captions(captioned: Captioned) -> tuple[Caption, ...]:
    """The captions, where no photo failed; else the error, or a CaptionsFailed that has them all.

    A photo is never silently taken for one without a caption.
    """
    problems = captioned.problems
    if len(problems) == 1:
        raise _about(problems[0])
    if problems:
        named = "; ".join(f"{each.file}: {each.error.message}" for each in problems[:NAMED])
        more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise CaptionsFailed(
            f"{len(problems)} photos have no caption: {named}{more}",
            hint="run the same command again, write photo.txt beside photo.jpg,"
            " or go on without: --captions files",
        )
    return captioned.captions


def _about(problem: Problem) -> PrismError:
    """The error, with the name of its photo where it does not say it."""
    error = problem.error
    if problem.file in error.message or sidecar_of(Path(problem.file)).name in error.message:
        return error
    return type(error)(f"{problem.file}: {error.message}", hint=error.hint)


def _plan(options: CaptionOptions, entry: BaseEntry, photos: Sequence[Picture]) -> _Plan:
    """Who describes the photos, which no file does."""
    match options.source:
        case "gemini":
            from prism_cli.captioners.gemini import GeminiCaptioner

            captioner = GeminiCaptioner(options.model)
            return _Plan(captioner, at_once=_AT_ONCE, kept=True, leaves=True)
        case "local":
            return _local()
        case "auto" if entry.practice:
            from prism_cli.captioners.world import WorldCaptioner

            return _Plan(WorldCaptioner(entry.folder / SCORER, photos))
        case "auto" if local_captioner.find() is not None:
            return _local()
    return _Plan(None)


def _local() -> _Plan:
    from prism_cli.captioners.local import LocalCaptioner  # its classes take a second to import

    source = f"local:{local_captioner.REPOSITORY}@{local_captioner.REVISION[:8]}"
    return _Plan(LocalCaptioner(local_captioner.require, source), kept=True)


def _describe(
    plan: _Plan, captioner: Captioner, photos: dict[int, Picture], ask: bool, on_event: OnEvent
) -> dict[int, str | PrismError]:
    """The captioner's answer to each photo, kept or new, "" or the error where it has none."""
    answers: dict[int, str | PrismError] = {}
    if plan.kept:
        answers |= {
            k: text for k, p in photos.items() if (text := caption_cache.kept(p, captioner))
        }
    new = {k: photo for k, photo in photos.items() if k not in answers}
    if new and plan.kept and not ask:
        count = f"{len(new)} photo{'s' if len(new) > 1 else ''}"
        on_event(Note(f"{count} would be described by {captioner.source}; nothing is asked now"))
    elif new:
        try:
            captioner.connect()
            if plan.leaves:
                on_event(_leaving(len(new), captioner.source))
            answers |= _ask(plan, captioner, new, on_event)
        finally:
            captioner.close()
    if plan.kept:
        _say_lengths(answers, photos, on_event)
    return answers


def _ask(
    plan: _Plan, captioner: Captioner, photos: dict[int, Picture], on_event: OnEvent
) -> dict[int, str | PrismError]:
    """Ask about several photos at once."""
    tell = on_event if plan.kept else ignore  # the others are quick
    tell(StageBegan(STAGE, len(photos), unit="photo"))
    answers = ask_each(
        lambda photo: _one(plan, captioner, photo),
        photos,
        at_once=plan.at_once,
        stop=captioner.stop,
        moved=lambda count: tell(StageMoved(STAGE, count)),
    )
    tell(StageEnded(STAGE, len(answers), "done"))
    return answers


def _one(plan: _Plan, captioner: Captioner, photo: Picture) -> str:
    """The caption of one photo; asked for again once, where its length is not the paper's."""
    if not plan.kept:
        return captioner.describe(photo)
    large = _at_full_size(photo)
    text = captioner.describe(large)
    if not has_length(text):
        text = captioner.describe(large, text)
    caption_cache.keep(photo, captioner, text)
    return text


def _at_full_size(photo: Picture) -> Picture:
    """The photo as a model sees it, whatever the size that the base learns from."""
    decoded = read_picture(photo.path, READ_SIZE)
    if isinstance(decoded, Finding):  # smaller than such a model would like
        return photo
    return Photo(path=photo.path, sha256=photo.sha256, image=decoded.image)


def has_length(text: str) -> bool:
    """Whether a caption has the paper's 8 to 32 words."""
    return len(text.split()) in WORDS


def _leaving(count: int, source: str) -> Note:
    photos = f"{count} photo{'s leave' if count > 1 else ' leaves'}"
    return Note(
        f"{photos} this machine for Google ({source}), at most {SIDE} px large and without"
        " metadata; the answers are kept, so that none is sent twice",
        "warning",
    )


def _say_lengths(
    answers: dict[int, str | PrismError], photos: dict[int, Picture], on_event: OnEvent
) -> None:
    for k, text in answers.items():
        if isinstance(text, str) and not has_length(text):
            on_event(
                Note(
                    f"{photos[k].path.name}: its caption has {len(text.split())} words, not"
                    f" {WORDS[0]} to {WORDS[-1]}, though asked twice; it is used as it is",
                    "warning",
                )
            )


def _read_files(
    photos: Sequence[Picture], folder: Path, on_event: OnEvent
) -> tuple[dict[int, Caption], dict[int, PrismError]]:
    """The captions that files have, and the errors of files that cannot be read."""
    found: dict[int, Caption] = {}
    problems: dict[int, PrismError] = {}
    beside = CaptionFiles.read(folder)
    _say_strangers(beside, on_event)
    for k, photo in enumerate(photos):
        try:
            caption = beside.find(photo.path)
        except (CaptionRefused, StorageFailed) as error:
            problems[k] = error
        else:
            if caption is not None:
                found[k] = caption
    return found, problems


def _say_strangers(files: CaptionFiles, on_event: OnEvent) -> None:
    for file, names in files.strangers.items():
        named = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        count = f"{len(names)} file{'s' if len(names) > 1 else ''}"
        on_event(Note(f"{file} has captions for {count} not in the folder: {named}", "warning"))
