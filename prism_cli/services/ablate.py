"""`prism ablate`: the paper's two ablations (supplement, Tables 5 and 6) over folders of photos."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from prism_cli import __version__, evaluation_prompts
from prism_cli.backbones.base import SamplingPlan
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.errors import OptionRefused
from prism_cli.evaluation_prompts import PromptList
from prism_cli.files import held
from prism_cli.method.evaluation import alignment, likeness
from prism_cli.runtime import Runtime
from prism_cli.services import checkpoint
from prism_cli.services.ablation_rows import Row, add_row, ensure_writable, read_rows
from prism_cli.services.ablation_tables import Table, tables
from prism_cli.services.evaluate import chosen_list
from prism_cli.services.evaluation_draws import Job, draw_groups, groups_of
from prism_cli.services.events import Event, Note, OnEvent, PhotoNote, ignore
from prism_cli.services.judges import Judges, judges_for
from prism_cli.services.prepare import Prepared, TrainRequest, prepare
from prism_cli.services.references import squares
from prism_cli.services.scoring import seen_by
from prism_cli.services.studio import open_base, plan_of
from prism_cli.services.train import fitted, learn
from prism_cli.settings import checked, resolve

LENGTHS = (1, 2, 4, 8)  # n (Table 5)
BETAS = (0.0, 0.01, 0.05, 0.1, 0.5)  # (Table 6)
_NAME = "prism-ablation"  # of the concept in training, not a user's; it enters no registry


@dataclass(frozen=True, slots=True, kw_only=True)
class AblateRequest:
    """What the user asked for.

    lengths, betas: the values of each study; none leaves it out. seeds: how many, from 0. out: the
    results file, a JSON object a line. The rest as for a training and for an evaluation.
    """

    folders: tuple[Path, ...]
    lengths: tuple[int, ...] = LENGTHS
    betas: tuple[float, ...] = BETAS
    seeds: int = 1
    out: Path = Path("ablation.jsonl")
    base: str | None = None
    file: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "subject"  # of every folder, as `TrainRequest.kind`
    prompts: PromptList | None = None
    live: bool = False
    class_word: str | None = None
    count: int = evaluation_prompts.IMAGES
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training and its evaluation. length: n."""

    concept: str
    folder: Path
    length: int
    beta: float
    seed: int

    @property
    def key(self) -> tuple[str, int, float, int]:
        """What tells it from every other cell of the same protocol."""
        return (self.concept, self.length, self.beta, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """What an ablation found."""

    tables: tuple[Table, ...]
    concepts: int
    seeds: int
    cells: int
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationPlan:
    """What would be trained: cells in all, and those that the results file lacks.

    training: of the first folder at the usual settings. sampling: of the pictures of a cell.
    """

    cells: tuple[Cell, ...]
    missing: tuple[Cell, ...]
    training: TrainRequest
    entry: BaseEntry
    sampling: SamplingPlan
    pictures: int
    out: Path


def ablate(request: AblateRequest, on_event: OnEvent = ignore) -> Ablation:
    """Train and measure every cell that the results file lacks; the tables over all of them.

    Stopped at any moment, it goes on with the cell it was at. Processes with one results file share
    the cells. Raises what `prism train` and `prism eval` raise.
    """
    study = _study(request, on_event)
    plan = _plan(request, study, read_rows(request.out, study.protocols))
    if plan.missing:
        ensure_writable(request.out)
        _finish_all(request, study, plan.missing, on_event)
        checkpoint.discard_abandoned(_NAME)
    rows = read_rows(request.out, study.protocols)
    counted = {cell.key for cell in plan.cells}
    kinds = len({row.machine for row in rows if row.key in counted})
    if kinds > 1:
        note = f"the cells were trained on {kinds} kinds of machine, which may differ by rounding"
        on_event(Note(note, level="warning"))
    rows = [row for row in rows if row.seed < request.seeds]
    usual = study.first.settings.recipe.tokens
    return Ablation(
        tables=tuple(tables(rows, request.lengths, request.betas, usual)),
        concepts=len(request.folders),
        seeds=request.seeds,
        cells=len(plan.cells),
        out=request.out,
    )


def plan_ablation(request: AblateRequest, on_event: OnEvent = ignore) -> AblationPlan:
    """What `ablate` would do; no captioner is asked, so that cells that need one are missing."""
    study = _study(request, on_event, rehearsal=True)
    return _plan(request, study, read_rows(request.out, study.protocols))


@dataclass(frozen=True, slots=True)
class _Study:
    """What all cells share: the usual training of each folder, and how it is judged.

    prepared, protocols: by concept.
    """

    prepared: Mapping[str, Prepared]
    prompts: PromptList
    protocols: Mapping[str, str]

    @property
    def first(self) -> Prepared:
        return next(iter(self.prepared.values()))

    @property
    def entry(self) -> BaseEntry:
        return self.first.entry

    @property
    def runtime(self) -> Runtime:
        return self.first.runtime


def _study(request: AblateRequest, on_event: OnEvent, *, rehearsal: bool = False) -> _Study:
    """Look at every folder before the first cell is trained; the first one introduces the base."""
    names = [folder.resolve().name for folder in request.folders]
    if len(set(names)) < len(names):
        raise OptionRefused(
            "two of the folders have the same name", hint="rename one: results go by that name"
        )
    if not (request.lengths or request.betas):
        raise OptionRefused("there is nothing to vary", hint="give --lengths or --betas")
    for n in request.lengths:
        checked("tokens.length", n)
    for beta in request.betas:
        checked("tokens.beta", beta)
    # An exclusion loss takes two photos: better refused now than after all cells that have none.
    most = {"tokens.beta": max(request.betas)} if any(request.betas) else {}
    prepared = {
        name: _cell_of(
            prepare(
                _training(request, folder, most, 0),
                on_event if name == names[0] else partial(_warn, on_event),
                rehearsal=rehearsal,
            ),
            _training(request, folder, {}, 0),
        )
        for name, folder in zip(names, request.folders, strict=True)
    }
    first = next(iter(prepared.values()))
    prompts = chosen_list(request.prompts, first.entry, live=request.live, kind=request.kind)
    protocols = {name: _protocol(request, each, prompts) for name, each in prepared.items()}
    return _Study(prepared, prompts, protocols)


def _warn(on_event: OnEvent, event: Event) -> None:
    """Pass on what is to be known of a folder; of the base and the settings it was said before."""
    if isinstance(event, PhotoNote) or (isinstance(event, Note) and event.level == "warning"):
        on_event(event)


def _protocol(request: AblateRequest, prepared: Prepared, prompts: PromptList) -> str:
    """A digest of what is asked of the cells of one concept, whatever other folders there are.

    Where they run is no part of it, so that machines can share a study, and another torch does not
    begin it anew.
    """
    facts = {
        "prism": __version__,
        "base": prepared.entry.revision,
        "template": prepared.template,
        "recipe": {
            name: value
            for name, value in prepared.settings.recipe.flat().items()
            if name not in {"tokens.length", "tokens.beta"}
        },
        "photos": [photo.sha256 for photo in prepared.intake.photos],
        "captions": [caption.text for caption in prepared.captions],
        **({"start": prepared.shared} if prepared.shared else {}),
        "prompts": [[p.template, p.text(request.class_word)] for p in prompts.prompts],
        "count": request.count,
        "steps": request.steps,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _training(
    request: AblateRequest, folder: Path, flags: Mapping[str, Any], seed: int
) -> TrainRequest:
    return TrainRequest(
        folder=folder,
        name=_NAME,
        base=request.base,
        kind=request.kind,
        seed=seed,
        force=True,  # no registry is touched
        flags=flags,
        file=request.file,
    )


def _cells(request: AblateRequest, study: _Study) -> Iterator[Cell]:
    """Every cell once: both studies share the one at the usual n and beta."""
    usual = study.first.settings.recipe.tokens
    settings = [(n, usual.beta) for n in request.lengths] + [
        (usual.length, beta) for beta in request.betas
    ]
    for length, beta in dict.fromkeys(settings):
        for name, folder in zip(study.prepared, request.folders, strict=True):
            for seed in range(request.seeds):
                yield Cell(concept=name, folder=folder, length=length, beta=beta, seed=seed)


def _plan(request: AblateRequest, study: _Study, rows: Sequence[Row]) -> AblationPlan:
    cells, done = tuple(_cells(request, study)), {row.key for row in rows}
    return AblationPlan(
        cells=cells,
        missing=tuple(cell for cell in cells if cell.key not in done),
        training=_training(request, request.folders[0], {}, 0),
        entry=study.entry,
        sampling=plan_of(study.entry, request.steps),
        pictures=len(study.prompts.prompts) * request.count,
        out=request.out,
    )


def _cell_of(prepared: Prepared, training: TrainRequest) -> Prepared:
    """The same photos and captions, whatever becomes of their files, with other settings."""
    settings = resolve(prepared.entry.recipe, training.file, training.flags)
    return replace(prepared, request=training, settings=settings)


def _finish_all(
    request: AblateRequest, study: _Study, missing: Sequence[Cell], on_event: OnEvent
) -> None:
    """Put a row of each cell into the results file."""
    judges = judges_for(study.entry, study.runtime.device)
    pending = list(enumerate(missing, start=1))
    for wait in (False, True):  # what another process is at comes last
        later = []
        for number, cell in pending:
            with held(_lock(request.out, study, cell), request.out, wait=wait) as mine:
                done = {row.key for row in read_rows(request.out, study.protocols)}
                if mine and cell.key not in done:
                    settings = f"n = {cell.length}, beta = {cell.beta:g}, seed {cell.seed}"
                    on_event(Note(f"cell {number} of {len(missing)}: {cell.concept}, {settings}"))
                    _finish(request, study, cell, judges, on_event)
                elif not mine:
                    on_event(Note(f"cell {number} of {len(missing)}: another prism is at it"))
                    later.append((number, cell))
        pending = later


def _lock(out: Path, study: _Study, cell: Cell) -> Path:
    """What a process holds that is at a cell, wherever it runs."""
    whose = json.dumps([study.protocols[cell.concept], *cell.key])
    return out.with_name(f".{out.name}.{hashlib.sha256(whose.encode()).hexdigest()[:12]}.lock")


def _finish(
    request: AblateRequest, study: _Study, cell: Cell, judges: Judges, on_event: OnEvent
) -> None:
    """Put a cell's row into the results file."""
    flags = {"tokens.length": cell.length, "tokens.beta": cell.beta}
    training = _training(request, cell.folder, flags, cell.seed)
    prepared = fitted(_cell_of(study.prepared[cell.concept], training), on_event)[0]
    with checkpoint.alone(prepared.checkpoint_path, wait=True):  # another study may have it too
        add_row(request.out, _measured(request, study, cell, prepared, judges, on_event))
        checkpoint.discard(prepared.checkpoint_path)  # only now is the cell safe without it


def _measured(
    request: AblateRequest,
    study: _Study,
    cell: Cell,
    prepared: Prepared,
    judges: Judges,
    on_event: OnEvent,
) -> Row:
    """Train a cell, draw the protocol's prompts with it, and judge them."""
    began = time.monotonic()
    trained = learn(prepared, on_event)[1]  # not its base: another is to come
    templates = [prompt.template for prompt in study.prompts.prompts]
    group = groups_of(trained.tokens, templates, [], request.count).concept
    with tempfile.TemporaryDirectory() as place:
        sampling = plan_of(study.entry, request.steps)
        job = Job(
            folder=Path(place),
            plan=sampling,
            seed=cell.seed * request.count,  # no two seeds of a setting draw from one noise
            batch=study.entry.recipe.drawing.batch,
        )
        backbone = open_base(study.entry, sampling, on_event)
        draw_groups(backbone, trained.tokens, trained.lora, (), (group,), job, on_event)
        name, reader = judges.alignment
        texts = [prompt.text(request.class_word) for prompt in study.prompts.prompts]
        aligned = alignment(seen_by(reader, group, Path(place)), reader.read(texts))
        scores = {f"{name} by {reader.name}": aligned.mean().item()}
        for name, encoder in judges.likeness.items():
            references = encoder.see(squares(prepared.intake.photos, study.entry.size))
            drawn = seen_by(encoder, group, Path(place))
            scores[f"{name} by {encoder.name}"] = likeness(drawn, references)
    return Row(
        concept=cell.concept,
        length=cell.length,
        beta=cell.beta,
        seed=cell.seed,
        protocol=study.protocols[cell.concept],
        machine=", ".join(prepared.machine),
        scores=scores,
        seconds=round(time.monotonic() - began, 1),
    )
