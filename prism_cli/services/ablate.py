"""`prism ablate`: the paper's two ablations (supplement, Tables 5 and 6) over folders of photos."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prism_cli.files import held
from prism_cli.method.evaluation import alignment, likeness
from prism_cli.services import checkpoint
from prism_cli.services.ablation_rows import Row, add_row, ensure_writable, read_rows
from prism_cli.services.ablation_study import NAME, AblateRequest, AblationPlan, Cell, Study
from prism_cli.services.ablation_tables import Table, tables
from prism_cli.services.evaluation_draws import Group, Job, draw_groups, groups_of
from prism_cli.services.events import Note, OnEvent, ignore
from prism_cli.services.judges import check_judges, judges_for
from prism_cli.services.prepare import Prepared
from prism_cli.services.references import squares
from prism_cli.services.scoring import Gallery
from prism_cli.services.studio import open_base
from prism_cli.services.train import fitted, learn


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """What an ablation found."""

    tables: tuple[Table, ...]
    concepts: int
    seeds: int
    cells: int
    out: Path


def ablate(request: AblateRequest, on_event: OnEvent = ignore) -> Ablation:
    """Train and measure every cell that the results file lacks; the tables over all of them.

    Stopped at any moment, it goes on with the cell it was at. Processes with one results file share
    the cells. Raises what `prism train` and `prism eval` raise.
    """
    study = Study.of(request, on_event)
    plan = study.plan(read_rows(request.out, study.protocols))
    if plan.missing:
        check_judges(study.entry)  # before hours are spent on a training
        ensure_writable(request.out)
        _finish_all(study, plan.missing, on_event)
        checkpoint.discard_abandoned(NAME)
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
    study = Study.of(request, on_event, rehearsal=True)
    return study.plan(read_rows(request.out, study.protocols))


def _finish_all(study: Study, missing: Sequence[Cell], on_event: OnEvent) -> None:
    """Put a row of each cell into the results file."""
    out = study.request.out
    pending = list(enumerate(missing, start=1))
    for wait in (False, True):  # what another process is at comes last
        later = []
        for number, cell in pending:
            with held(_lock(study, cell), out, wait=wait) as mine:
                done = {row.key for row in read_rows(out, study.protocols)}
                if mine and cell.key not in done:
                    settings = f"n = {cell.length}, beta = {cell.beta:g}, seed {cell.seed}"
                    on_event(Note(f"cell {number} of {len(missing)}: {cell.concept}, {settings}"))
                    _finish(study, cell, on_event)
                elif not mine:
                    on_event(Note(f"cell {number} of {len(missing)}: another prism is at it"))
                    later.append((number, cell))
        pending = later


def _lock(study: Study, cell: Cell) -> Path:
    """What a process holds that is at a cell, wherever it runs."""
    out = study.request.out
    whose = json.dumps([study.protocols[cell.concept], *cell.key])
    return out.with_name(f".{out.name}.{hashlib.sha256(whose.encode()).hexdigest()[:12]}.lock")


def _finish(study: Study, cell: Cell, on_event: OnEvent) -> None:
    """Put a cell's row into the results file."""
    prepared = fitted(study.training_of(cell), on_event)[0]
    with checkpoint.alone(prepared.checkpoint_path, wait=True):  # another study may have it too
        add_row(study.request.out, _measured(study, cell, prepared, on_event))
        checkpoint.discard(prepared.checkpoint_path)  # only now is the cell safe without it


def _measured(study: Study, cell: Cell, prepared: Prepared, on_event: OnEvent) -> Row:
    """Train a cell, draw the protocol's prompts with it, and judge them."""
    began = time.monotonic()
    trained = learn(prepared, on_event)[1]  # not its base: another is to come
    request, prompts = study.request, study.prompts.prompts
    templates = [prompt.template for prompt in prompts]
    group = groups_of(trained.tokens, templates, [], request.count).concept
    with tempfile.TemporaryDirectory() as place:
        job = Job(
            folder=Path(place),
            plan=study.sampling,
            seed=cell.seed * request.count,  # no two seeds of a setting draw from one noise
            batch=study.entry.recipe.drawing.batch,
        )
        backbone = open_base(study.entry, study.sampling, on_event)
        draw_groups(backbone, trained.tokens, trained.lora, (), (group,), job, on_event)
        del backbone  # the judges want its room
        scores = _scores(study, prepared, group, Gallery(Path(place)))
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


def _scores(study: Study, prepared: Prepared, group: Group, gallery: Gallery) -> dict[str, float]:
    """What the judges make of a cell's pictures, by measure and judge."""
    judges = judges_for(study.entry, prepared.runtime.device)
    name, reader = judges.alignment
    texts = [prompt.text(study.request.class_word) for prompt in study.prompts.prompts]
    aligned = alignment(gallery.seen_by(reader, group), reader.read(texts))
    scores = {f"{name} by {reader.name}": aligned.mean().item()}
    for name, encoder in judges.likeness.items():
        references = encoder.see(squares(prepared.intake.photos, study.entry.size))
        drawn = gallery.seen_by(encoder, group)
        scores[f"{name} by {encoder.name}"] = likeness(drawn, references)
    return scores
