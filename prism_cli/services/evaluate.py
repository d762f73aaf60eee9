"""`prism eval`: a concept's pictures drawn by a protocol, and what encoders make of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from prism_cli import __version__, evaluation_prompts, paths
from prism_cli.backbones.base import SamplingPlan
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.errors import OptionRefused, storage
from prism_cli.evaluation_prompts import PromptList
from prism_cli.files import write_whole
from prism_cli.method.tokens import ConceptTokens
from prism_cli.registry.archive import Archive
from prism_cli.registry.store import Registry
from prism_cli.reports.model import Evaluation, Satisfaction
from prism_cli.runtime import Runtime, detect
from prism_cli.services.concept_archive import check_rows_fit, unpack_lora, unpack_tokens
from prism_cli.services.early import check_evaluable, check_list
from prism_cli.services.evaluation_draws import Groups, Job, draw_groups, groups_of
from prism_cli.services.evaluation_sheet import sheet_of
from prism_cli.services.evaluation_store import EvaluationStore, damaged, matrix_of
from prism_cli.services.events import Note, OnEvent, ignore
from prism_cli.services.introductions import introduce
from prism_cli.services.judges import check_judges, judges_for
from prism_cli.services.references import ReferencePhotos, match_photos
from prism_cli.services.residual_leakage import measure_leakage, residual_conditions
from prism_cli.services.scene import read_scene
from prism_cli.services.scoring import measure, opened
from prism_cli.services.studio import open_base, plan_of
from prism_cli.services.vlm_judge import Judged, check_key, criteria, judge_pictures, model_of, sent

SHEET = "drawn.png"  # of the evaluation's pictures, beside its numbers
LEAKAGE = "leakage.json"  # among the pictures, since the base makes both


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRequest:
    """What the user asked for; None is the protocol's value, or the base's.

    photos: a folder with the references, and perhaps more of the same. live: the list of prompts
    for live subjects. class_word: what the base draws where the concept would stand; None for the
    --class of its training, "" for no word. judge: who else is asked about the pictures, one
    of `vlm_judge.JUDGES`. judge_model: the id of its model.
    """

    name: str
    photos: Path | None = None
    prompts: PromptList | None = None
    live: bool = False
    class_word: str | None = None
    count: int = evaluation_prompts.IMAGES
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    base: str | None = None
    judge: str | None = None
    judge_model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalPlan:
    """An evaluation as it was prepared, before a weight is loaded.

    judge: the id of the model that judges the pictures; None for nobody.
    """

    request: EvalRequest
    archive: Archive
    entry: BaseEntry
    runtime: Runtime
    tokens: ConceptTokens
    prompts: PromptList
    word: str | None
    groups: Groups
    sampling: SamplingPlan
    photos: ReferencePhotos
    judge: str | None = None

    @property
    def shown(self) -> list[Image.Image]:
        """The photos that a judge gets: of a folder that was named, not from where they lay."""
        return [] if self.request.photos is None else list(self.photos.references.values())

    @property
    def measures_leakage(self) -> bool:
        """Whether there is a residual a photo, and every photo is there."""
        return len(self.photos.references) == len(self.tokens.residuals) > 0

    @property
    def judging(self) -> str:
        """What a judge is asked and gets, in words; "" for no judge."""
        if self.judge is None:
            return ""
        what = sent(len(self.prompts.prompts), len(self.shown))
        return f"gemini:{self.judge} gets {what}, in at most {self.questions} questions"

    @property
    def questions(self) -> int:
        """How many questions a judge is asked at most."""
        if self.judge is None:
            return 0
        return len(self.prompts.prompts) * len(criteria(len(self.shown)))

    @property
    def store(self) -> EvaluationStore:
        """Where the evaluation is kept."""
        return EvaluationStore.of(self.archive)

    @property
    def folder(self) -> Path:
        """Where its pictures are, or will be."""
        return self.store.pictures(self.identity)

    @property
    def missing(self) -> int:
        """How many pictures are not drawn yet."""
        names = (
            n for group in (*self.groups.alone, *self.groups.learned) for n in group.every_file
        )
        return sum(not (self.folder / name).is_file() for name in names)

    @property
    def is_drawn(self) -> bool:
        """Whether all is there that needs the base."""
        leakage = not self.measures_leakage or (self.folder / LEAKAGE).is_file()
        return leakage and not self.missing

    @property
    def identity(self) -> dict[str, object]:
        """What decides the pictures: two plans that have it in common share them."""
        return {
            "prism": __version__,
            "prompts": [[p.template, p.plain(self.word)] for p in self.prompts.prompts],
            "count": self.request.count,
            "seed": self.request.seed,
            "steps": self.sampling.steps,
            "guidance": self.sampling.guidance,
            "base": self.entry.revision,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """An evaluation and where it is kept. sheet: a contact sheet of what was drawn."""

    name: str
    evaluation: Evaluation
    folder: Path
    sheet: Path

    @property
    def unanswered(self) -> int:
        """How many questions the judge has not answered."""
        judged = self.evaluation.satisfaction
        return sum(rate.unanswered for rate in judged.rates) if judged else 0


def evaluate(
    request: EvalRequest, on_event: OnEvent = ignore, now: datetime | None = None
) -> EvalResult:
    """Draw a concept by the protocol, measure it, and keep both.

    Stopped at any moment, it goes on from the pictures that are there; an earlier evaluation stays
    as it is until this one is kept. Raises ConceptNotFound, BaseMismatch, EncoderNotDownloaded,
    PhotosRefused, OptionRefused, TooLarge, StorageFailed, StorageBusy where another process is at
    the same evaluation, and GeminiUnusable where a judge was named and cannot be asked: without a
    key before anything is drawn, else when the scores are kept.
    """
    plan = prepare_evaluation(request, on_event)
    store, folder = plan.store, plan.folder
    if not plan.is_drawn:  # before hours are spent on that
        if plan.judge:
            check_key(plan.judge)
        check_judges(plan.entry)
    with store.held(folder):
        _draw(plan, on_event)
        judges = judges_for(plan.entry, plan.runtime.device)
        evaluation = replace(
            measure(plan, folder, judges, now or datetime.now(UTC)), leakage=_read_leakage(folder)
        )
        _keep(plan, evaluation)
        if plan.judge:
            evaluation = replace(
                evaluation, satisfaction=_judge(plan.judge, plan, evaluation, store, on_event)
            )
            _keep(plan, evaluation)  # its pictures too: meanwhile another's may have come there
    return EvalResult(
        name=request.name,
        evaluation=evaluation.named(request.name),
        folder=store.folder,
        sheet=store.picture(SHEET),
    )


def prepare_evaluation(request: EvalRequest, on_event: OnEvent = ignore) -> EvalPlan:
    """Check everything that can be checked before a weight is loaded."""
    if not 1 <= request.count <= 100:
        raise OptionRefused(f"--count must be between 1 and 100, not {request.count}")
    judge = model_of(request.judge, request.judge_model)
    archive = Registry(paths.concepts_dir()).load(request.name)
    check_evaluable(archive, live=request.live, own=request.prompts is not None)
    entry = read_scene(f"[{request.name}]", "", None, request.base).entry
    runtime = detect()
    introduce(entry, f"{request.name} was trained on it", runtime, on_event)
    photos = match_photos(archive.manifest, request.photos, entry.size, on_event)
    if not photos.references:
        on_event(
            Note(
                "the photos are not where they were, and likeness needs them: --photos FOLDER",
                "warning",
            )
        )
    word = request.class_word
    if word is None and (told := archive.manifest.options.get("class")) and told.value:
        word = str(told.value)
    prompts = chosen_list(request.prompts, entry, live=request.live, kind=archive.manifest.kind)
    tokens = unpack_tokens(archive)
    return EvalPlan(
        request=request,
        archive=archive,
        entry=entry,
        runtime=runtime,
        tokens=tokens,
        prompts=prompts,
        word=word or None,
        groups=groups_of(
            tokens,
            [p.template for p in prompts.prompts],
            [p.plain(word) for p in prompts.prompts],
            request.count,
        ),
        sampling=plan_of(entry, request.steps, request.guidance),
        photos=photos,
        judge=judge,
    )


def chosen_list(
    own: PromptList | None, entry: BaseEntry, *, live: bool, kind: str = "subject"
) -> PromptList:
    """The prompts that were given, else `default_list`. Raises OptionRefused as `check_list`."""
    check_list(kind, live=live, own=own is not None)
    return default_list(entry, live=live, kind=kind) if own is None else own


def default_list(entry: BaseEntry, *, live: bool, kind: str = "subject") -> PromptList:
    """The protocol's prompts for a base: DreamBench's, or mini's own, which knows few words.

    A style and an action, which are shown on things, have lists of their own. Raises OptionRefused
    for `live` on a base that does not know the words of that list.
    """
    if own := evaluation_prompts.of_kind(kind, entry.in_style):
        return own
    if entry.practice:
        if live:
            raise OptionRefused(
                "DreamBench's prompts for live subjects have words that the practice base lacks",
                hint="leave out --live: it has a list of its own",
            )
        return evaluation_prompts.MINI
    return evaluation_prompts.LIVE if live else evaluation_prompts.OBJECTS


def _draw(plan: EvalPlan, on_event: OnEvent) -> None:
    """Draw what the evaluation needs, and let the base go."""
    if plan.is_drawn:
        on_event(Note("every picture is there from an earlier evaluation"))
        return
    backbone = open_base(plan.entry, plan.sampling, on_event)
    check_rows_fit(plan.request.name, plan.tokens.rows(), backbone)
    if plan.measures_leakage:
        conditions = residual_conditions(backbone, plan.tokens)
        found = measure_leakage(backbone, list(plan.photos.references.values()), conditions)
        write_whole(plan.folder / LEAKAGE, json.dumps(found.matrix.tolist()).encode())
    batch = plan.entry.recipe.drawing.batch
    job = Job(folder=plan.folder, plan=plan.sampling, seed=plan.request.seed, batch=batch)
    lora, groups = unpack_lora(plan.archive), plan.groups
    draw_groups(backbone, plan.tokens, lora, groups.alone, groups.learned, job, on_event)


def _keep(plan: EvalPlan, evaluation: Evaluation) -> None:
    """Put the numbers and the sheet in the place of those before."""
    store = plan.store
    with store.alone():
        store.replace(evaluation, plan.folder)
        sheet = sheet_of(evaluation.named(plan.request.name), store)
        write_whole(store.picture(SHEET), sheet)


def _read_leakage(folder: Path) -> tuple[tuple[float, ...], ...] | None:
    path = folder / LEAKAGE
    with storage("read", path):
        data = path.read_bytes() if path.is_file() else b"null"
    try:
        return matrix_of(json.loads(data.decode("utf-8")))
    except (ValueError, TypeError) as error:
        raise damaged(path, error) from error


def _judge(
    model: str, plan: EvalPlan, evaluation: Evaluation, store: EvaluationStore, on_event: OnEvent
) -> Satisfaction:
    """What a judge says of each prompt's first picture, beside the photos that were trained on."""
    pictures = [
        Judged(each.prompt, each.text, each.pictures[0], opened(store.picture(each.pictures[0])))
        for each in evaluation.prompts
    ]
    return judge_pictures(model, pictures, plan.shown, on_event)
