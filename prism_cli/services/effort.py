"""How long a command takes at the least: its floating-point operations at a measured speed."""

from __future__ import annotations

from prism_cli.backbones.footprint import Footprint
from prism_cli.runtime import Runtime, matrix_product_speed
from prism_cli.services.memory_needs import Way, Work


def least_seconds(footprint: Footprint, way: Way, work: Work, runtime: Runtime) -> float:
    """The denoiser's share, at the speed that a large matrix product reaches here.

    A bound: nothing is faster than that, and small products, unpacked weights and whatever waits
    for memory are slower.
    """
    operations = _training(footprint, way, work) if work.photos else 0.0
    operations += _drawing(footprint, way, work)
    return operations / matrix_product_speed(runtime.device, runtime.dtype)


def _training(footprint: Footprint, way: Way, work: Work) -> float:
    forward = footprint.denoise(work.size, way.precision, "nothing").flops
    tokens, tuning = work.recipe.tokens, work.recipe.finetuning
    looks = tokens.steps / tokens.evaluate_every + tuning.steps / tuning.evaluate_every
    return forward * (
        tokens.steps * (_passes(way, work.pairs) * work.pairs + work.anchors)
        + tuning.steps * (_passes(way, work.tuned) * work.tuned + tuning.preserved)
        + looks * work.looked_at
    )


def _drawing(footprint: Footprint, way: Way, work: Work) -> float:
    """Of `work.pictures`: a preview's, or one batch."""
    forward = footprint.denoise(work.size, way.precision, "nothing").flops
    return forward * work.recipe.drawing.steps * work.drawn(footprint)


def _passes(way: Way, samples: int) -> int:
    """Forwards and backwards of an update.

    The backward pass is as long as a forward, since frozen weights take no gradient; blocks that
    are computed again are another, and so are micro-batches.
    """
    parted = way.micro_batch is not None and samples > way.micro_batch
    return 2 + way.checkpointing + parted
