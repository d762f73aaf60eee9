"""The scores of pictures that are drawn: what encoders make of them, by `method.evaluation`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from prism_cli.encoders.base import ImageEncoder, parts
from prism_cli.errors import storage
from prism_cli.method import evaluation as measured
from prism_cli.reports.model import Evaluation, PromptResult, Score
from prism_cli.services.evaluation_draws import Group
from prism_cli.services.evaluation_store import damaged
from prism_cli.services.judges import Judges
from prism_cli.services.pictures import from_png

if TYPE_CHECKING:
    from prism_cli.services.evaluate import EvalPlan


def measure(plan: EvalPlan, folder: Path, judges: Judges, now: datetime) -> Evaluation:
    """The scores of pictures that are drawn."""
    groups, photos, gallery = plan.groups, plan.photos, Gallery(folder)
    texts = [prompt.text(plan.word) for prompt in plan.prompts.prompts]
    name, reader = judges.alignment
    read = reader.read(texts)
    aligned, base_aligned = (
        measured.alignment(gallery.seen_by(reader, group), read)
        for group in (groups.concept, groups.base)
    )
    scores = [
        Score(
            name=name,
            encoder=reader.name,
            meaning="prompt to picture, a mean of cosines",
            wanted="at the base's own or above",
            value=aligned.mean().item(),
            base=base_aligned.mean().item(),
        )
    ]
    for name, encoder in judges.likeness.items():
        scores += _likeness(name, encoder, plan, gallery)
    scores += _leakage(judges, plan, gallery)
    prefix = folder.name
    return Evaluation(
        created=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        base=plan.entry.id,
        revision=plan.entry.revision,
        prompt_list=plan.prompts.name,
        word=plan.word,
        count=plan.request.count,
        seed=plan.request.seed,
        steps=plan.sampling.steps,
        guidance=plan.sampling.guidance,
        references=len(photos.references),
        held_out=len(photos.held_out),
        scores=tuple(scores),
        prompts=tuple(
            PromptResult(
                prompt=prompt.template,
                plain=prompt.plain(plan.word),
                text=text,
                alignment=aligned[k].mean().item(),
                base_alignment=base_aligned[k].mean().item(),
                pictures=tuple(f"{prefix}/{file}" for file in groups.concept.files(k)),
                base_pictures=tuple(f"{prefix}/{file}" for file in groups.base.files(k)),
            )
            for k, (prompt, text) in enumerate(zip(plan.prompts.prompts, texts, strict=True))
        ),
        target=_names(groups.target, prefix),
        residuals=_names(groups.residuals, prefix),
        both=_names(groups.both, prefix),
    )


def _likeness(name: str, encoder: ImageEncoder, plan: EvalPlan, gallery: Gallery) -> list[Score]:
    """Likeness to the references and to the photos held out, which tells copying from learning."""
    references = list(plan.photos.references.values())
    if not references:
        return []
    seen = encoder.see(references)
    drawn, alone = (
        gallery.seen_by(encoder, group) for group in (plan.groups.concept, plan.groups.base)
    )
    held_out = encoder.see(plan.photos.held_out) if plan.photos.held_out else None
    trained_on = Score(
        name=name,
        encoder=encoder.name,
        meaning="pictures to the photos that were trained on, a mean over all pairs",
        wanted="above the base's own, towards that of photos held out",
        value=measured.likeness(drawn, seen),
        base=measured.likeness(alone, seen),
        held_out=None if held_out is None else measured.likeness(held_out, seen),
    )
    if held_out is None:
        return [trained_on]
    unseen = replace(
        trained_on,
        name=f"{name}, held out",
        meaning="pictures to the photos held out",
        wanted="not far below that to the photos that were trained on: else it copies",
        value=measured.likeness(drawn, held_out),
        base=measured.likeness(alone, held_out),
        held_out=measured.likeness_among(held_out),
    )
    return [trained_on, unseen]


def _leakage(judges: Judges, plan: EvalPlan, gallery: Gallery) -> list[Score]:
    """What of the photos' surroundings is in the concept, and of the concept in the residuals."""
    groups, setting = plan.groups, judges.setting
    references = list(plan.photos.references.values())
    drawn, alone = (gallery.seen_by(setting, group) for group in (groups.concept, groups.base))
    scores: list[Score] = []
    if references and judges.tell_setting_apart:
        seen = setting.see(references)
        scores.append(
            Score(
                name="surroundings",
                encoder=setting.name,
                meaning="what is around it in pictures of prompts and in the photos trained on",
                wanted="no more than the base's own",
                value=measured.likeness(drawn, seen),
                base=measured.likeness(alone, seen),
            )
        )
    if not groups.residuals.prompts:
        return scores
    around = gallery.seen_by(setting, groups.residuals).flatten(0, 1)
    name, eye = list(judges.likeness.items())[-1]
    concept = gallery.seen_by(eye, groups.target).flatten(0, 1)
    return [
        *scores,
        Score(
            name="surroundings, residuals",
            encoder=setting.name,
            meaning="pictures of prompts to what each residual alone draws",
            wanted="no more than the base's own",
            value=measured.likeness(drawn, around),
            base=measured.likeness(alone, around),
        ),
        Score(
            name="residual gap",
            encoder=eye.name,
            meaning=f"{name} of what residuals draw to what the target draws, less that of chance",
            wanted="0",
            value=measured.residual_gap(
                gallery.seen_by(eye, groups.residuals).flatten(0, 1),
                gallery.seen_by(eye, groups.empty).flatten(0, 1),
                concept,
            ),
        ),
    ]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures in a folder as encoders see them: each group once by each of them."""

    folder: Path
    _seen: dict[tuple[str, str], Tensor] = field(default_factory=dict, init=False, repr=False)

    def seen_by(self, encoder: ImageEncoder, group: Group) -> Tensor:
        """Embeddings of a group's pictures: (P, count, d)."""
        key = (encoder.name, group.name)
        if key not in self._seen:
            files = group.every_file  # of hundreds, a few are open at a time
            seen = [encoder.see([opened(self.folder / n) for n in files[k]]) for k in parts(files)]
            self._seen[key] = torch.cat(seen).view(len(group.prompts), group.count, -1)
        return self._seen[key]


def opened(path: Path) -> Image.Image:
    """The picture in a file of an evaluation; StorageFailed where it is damaged."""
    with storage("read", path):
        data = path.read_bytes()
    try:
        return from_png(data)
    except MemoryError:
        raise
    except Exception as error:  # a decoder raises whatever damaged data leads it to
        raise damaged(path, "it is not a whole PNG") from error


def _names(group: Group, prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}/{name}" for name in group.every_file)
