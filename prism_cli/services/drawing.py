"""Draw pictures of parsed prompts with a loaded base; what `gen` and every preview share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from prism_cli.backbones.base import Backbone, Prompt, Rows, SamplingPlan
from prism_cli.method.conditions import NULL
from prism_cli.services.pictures import to_pictures


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` of a batch's steps are done; `pictures` holds the batch at the last one."""

    step: int
    pictures: tuple[Image.Image, ...] = ()


def draw(
    backbone: Backbone,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    rows: Rows,
    plan: SamplingPlan,
    *,
    negative: Prompt = NULL,
) -> Iterator[Progress]:
    """Draw one picture per prompt and seed, as one batch: yields after every step.

    Each picture starts from its own seed, so that it can be drawn again alone.
    """
    cond = backbone.encode_text(prompts, rows)
    null = backbone.encode_text([negative] * len(prompts), rows)
    z_T = backbone.initial_noise(plan.size, seeds)
    for step, z_t in enumerate(backbone.sample(cond, null, z_T, plan), start=1):  # noqa: B007
        if step < plan.steps:
            yield Progress(step)
    yield Progress(plan.steps, tuple(to_pictures(backbone.decode_latents(z_t))))
