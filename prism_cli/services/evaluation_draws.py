"""The pictures of an evaluation: each from its own seed, on disk as it comes, drawn only once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from prism_cli.backbones.base import Backbone, Conditioning, EncoderRows, Prompt, SamplingPlan, Slot
from prism_cli.files import write_whole
from prism_cli.method.conditions import NULL, residual_only, target_slot, with_concept
from prism_cli.method.tokens import ConceptTokens
from prism_cli.services.drawing import draw
from prism_cli.services.events import OnEvent, StageBegan, StageEnded, StageMoved
from prism_cli.services.pictures import png

STAGE = "drawing"


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures of some prompts: `count` of each, the k-th of every prompt from the same seed."""

    name: str
    prompts: tuple[Prompt, ...]
    count: int

    @property
    def total(self) -> int:
        """How many pictures that are."""
        return len(self.prompts) * self.count

    @property
    def every_file(self) -> list[str]:
        """The names of all its pictures, prompt by prompt."""
        return [name for place in range(len(self.prompts)) for name in self.files(place)]

    def files(self, place: int) -> list[str]:
        """The names of the pictures of one prompt."""
        return [f"{self.name}-{place:02}-{k}.png" for k in range(self.count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """All that an evaluation draws: by the base alone, and with the concept."""

    base: Group
    concept: Group
    empty: Group
    target: Group
    residuals: Group
    both: Group

    @property
    def alone(self) -> tuple[Group, ...]:
        """Without the concept, hence before its LoRA is attached."""
        return (self.base,)

    @property
    def learned(self) -> tuple[Group, ...]:
        """With the concept; no prompt too, as its LoRA may draw it unasked."""
        return (self.concept, self.empty, self.target, self.residuals, self.both)

    @property
    def total(self) -> int:
        """How many pictures all of them have."""
        return sum(group.total for group in (*self.alone, *self.learned))


def groups_of(
    tokens: ConceptTokens, templates: Sequence[str], plain: Sequence[str], count: int
) -> Groups:
    """What is drawn of a concept. templates: * for the concept. plain: the same without it."""
    photos = range(len(tokens.residuals))
    return Groups(
        base=Group("base", tuple((text,) for text in plain), count),
        concept=Group("concept", tuple(with_concept(t, tokens.concept) for t in templates), count),
        empty=Group("empty", (NULL,), count),
        target=Group("target", ((target_slot(tokens.concept),),), count),
        residuals=Group("residual", tuple(residual_only(tokens.concept, i) for i in photos), 1),
        both=Group("both", tuple(tokens.together(i) for i in photos), 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """How and where the pictures are drawn. batch: at once, at most."""

    folder: Path
    plan: SamplingPlan
    seed: int
    batch: int


def draw_groups(
    backbone: Backbone,
    tokens: ConceptTokens,
    lora: Mapping[str, Tensor],
    alone: Sequence[Group],
    learned: Sequence[Group],
    job: Job,
    on_event: OnEvent,
) -> None:
    """Draw what is not in the job's folder yet, by the base alone and with the concept.

    The base's own pictures come first, since a LoRA stays once it is attached.
    """
    every = (*alone, *learned)
    total = sum(group.total for group in every)
    encoded = {group.name: _encode(backbone, group, tokens.rows()) for group in every}
    null = backbone.encode_text([NULL], {})
    backbone.release_text_encoders()
    todo = {group.name: _todo(group, job) for group in every}
    done = total - sum(map(len, todo.values()))
    on_event(StageBegan(STAGE, total, done, unit="picture"))
    for group in every:
        if lora and learned and group is learned[0]:
            backbone.attach_loras({tokens.concept: (lora, 1.0)})
        items = todo[group.name]
        for some in (items[k : k + job.batch] for k in range(0, len(items), job.batch)):
            cond = encoded[group.name].take([item.place for item in some])
            seeds = [item.seed for item in some]
            for progress in draw(backbone, cond, null.take([0] * len(some)), seeds, job.plan):
                for item, picture in zip(some, progress.pictures, strict=False):
                    write_whole(item.path, png(picture))
                    done += 1
                    on_event(StageMoved(STAGE, done))
    on_event(StageEnded(STAGE, total, "done"))


@dataclass(frozen=True, slots=True)
class _Item:
    """One picture: of the prompt at `place` in its group."""

    place: int
    seed: int
    path: Path


def _todo(group: Group, job: Job) -> list[_Item]:
    every = [
        _Item(place, (job.seed + k) % 2**32, job.folder / name)
        for place in range(len(group.prompts))
        for k, name in enumerate(group.files(place))
    ]
    return [item for item in every if not item.path.is_file()]


def _encode(backbone: Backbone, group: Group, rows: Mapping[Slot, EncoderRows]) -> Conditioning:
    """The conditions of a group; those of an empty one are the null prompt's, and unused."""
    with torch.no_grad():
        return backbone.encode_text(group.prompts or (NULL,), rows)
