"""What an ablation is to train: its cells, and the protocol by which each concept is judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from prism_cli import __version__, evaluation_prompts
from prism_cli.backbones.base import SamplingPlan
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.evaluation_prompts import PromptList
from prism_cli.services.ablation_rows import Row
from prism_cli.services.early import check_varied
from prism_cli.services.evaluate import chosen_list
from prism_cli.services.events import Event, Note, OnEvent, PhotoNote, ignore
from prism_cli.services.prepare import Prepared, TrainRequest, prepare
from prism_cli.services.studio import plan_of
from prism_cli.settings import resolve

LENGTHS = (1, 2, 4, 8)  # n (Table 5)
BETAS = (0.0, 0.01, 0.05, 0.1, 0.5)  # (Table 6)
NAME = "prism-ablation"  # of the concept in training, not a user's; it enters no registry


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
    guidance: float | None = None
    keep_similar: bool = False


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What all cells share: the usual training of each folder, and how it is judged.

    prepared, protocols: by concept.
    """

    request: AblateRequest
    prepared: Mapping[str, Prepared]
    prompts: PromptList
    protocols: Mapping[str, str]

    @classmethod
    def of(
        cls, request: AblateRequest, on_event: OnEvent = ignore, *, rehearsal: bool = False
    ) -> Study:
        """Look at every folder before the first cell is trained; the first introduces the base.

        rehearsal: no captioner is asked. Raises OptionRefused, and what `prism train` raises of a
        folder.
        """
        check_varied(request.folders, request.lengths, request.betas)
        # An exclusion loss takes two photos: better refused now than after all that have none.
        most = {"tokens.beta": max(request.betas)} if any(request.betas) else {}
        prepared: dict[str, Prepared] = {}
        for folder in request.folders:
            tell = partial(_warn, on_event) if prepared else on_event
            found = prepare(_training(request, folder, most, 0), tell, rehearsal=rehearsal)
            if prepared and found.start:
                on_event(Note(f"{folder}: the target starts as {found.start!r}"))
            prepared[folder.resolve().name] = _changed(found, _training(request, folder, {}, 0))
        first = next(iter(prepared.values()))
        prompts = chosen_list(request.prompts, first.entry, live=request.live, kind=request.kind)
        return cls(
            request=request,
            prepared=prepared,
            prompts=prompts,
            protocols={name: _protocol(request, each, prompts) for name, each in prepared.items()},
        )

    @property
    def first(self) -> Prepared:
        """That of the first folder; all have its base and settings."""
        return next(iter(self.prepared.values()))

    @property
    def entry(self) -> BaseEntry:
        """The base."""
        return self.first.entry

    @property
    def sampling(self) -> SamplingPlan:
        """How pictures are drawn."""
        return plan_of(self.entry, self.request.steps, self.request.guidance)

    def plan(self, rows: Sequence[Row]) -> AblationPlan:
        """What is left to do, where `rows` are there."""
        cells, done = tuple(self._cells()), {row.key for row in rows}
        return AblationPlan(
            cells=cells,
            missing=tuple(cell for cell in cells if cell.key not in done),
            training=_training(self.request, self.request.folders[0], {}, 0),
            entry=self.entry,
            sampling=self.sampling,
            pictures=len(self.prompts.prompts) * self.request.count,
            out=self.request.out,
        )

    def training_of(self, cell: Cell) -> Prepared:
        """A cell's training, of the photos as they were when the study began."""
        flags = {"tokens.length": cell.length, "tokens.beta": cell.beta}
        training = _training(self.request, cell.folder, flags, cell.seed)
        return _changed(self.prepared[cell.concept], training)

    def _cells(self) -> Iterator[Cell]:
        """Every cell once: both studies share the one at the usual n and beta."""
        usual, request = self.first.settings.recipe.tokens, self.request
        settings = [(n, usual.beta) for n in request.lengths] + [
            (usual.length, beta) for beta in request.betas
        ]
        for length, beta in dict.fromkeys(settings):
            for name, folder in zip(self.prepared, request.folders, strict=True):
                for seed in range(request.seeds):
                    yield Cell(concept=name, folder=folder, length=length, beta=beta, seed=seed)


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
        **({"guidance": request.guidance} if request.guidance is not None else {}),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _training(
    request: AblateRequest, folder: Path, flags: Mapping[str, Any], seed: int
) -> TrainRequest:
    return TrainRequest(
        folder=folder,
        name=NAME,
        base=request.base,
        kind=request.kind,
        seed=seed,
        keep_similar=request.keep_similar,
        force=True,  # no registry is touched
        flags=flags,
        file=request.file,
    )


def _changed(prepared: Prepared, training: TrainRequest) -> Prepared:
    """The same photos and captions, whatever becomes of their files, with other settings."""
    settings = resolve(prepared.entry.recipe, training.file, training.flags)
    return replace(prepared, request=training, settings=settings)
