"""Draw pictures of encoded prompts with a loaded base; what `gen` and every preview share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from prism_cli.backbones.base import Backbone, Conditioning, SamplingPlan
from prism_cli.services.pictures import to_pictures


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` of a batch's steps are done; `pictures` holds the batch at the last one."""

    step: int
    pictures: tuple[Image.Image, ...] = ()


def draw(
    backbone: Backbone,
    cond: Conditioning,
    null: Conditioning,
    seeds: Sequence[int],
    plan: SamplingPlan,
) -> Iterator[Progress]:
    """Draw one picture per condition and seed, as one batch: yields after every step.

    null: what guidance leads away from, as many. Each picture starts from its own seed, so that it
    can be drawn again alone.
    """
    z_T = backbone.initial_noise(plan.size, seeds)
    for step, z_t in enumerate(backbone.sample(cond, null, z_T, plan), start=1):  # noqa: B007
        if step < plan.steps:
            yield Progress(step)
    yield Progress(plan.steps, tuple(to_pictures(backbone.decode_latents(z_t))))
