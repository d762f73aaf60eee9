"""Algorithm 2: fix the concept in the model with low-rank factors, the tokens being final."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from prism_cli.backbones.base import Backbone, Conditioning
from prism_cli.backbones.corruption import corrupt, target
from prism_cli.method.convergence import EVALUATION_SEED, PlateauRule, evaluation_draw
from prism_cli.method.draws import Draw, draw_batch
from prism_cli.method.losses import reconstruction_loss
from prism_cli.method.tokens import ConceptTokens
from prism_cli.settings import FinetuneOptions


@dataclass(slots=True)
class Finetuning:
    """Everything that the next step depends on; what a checkpoint holds."""

    factors: list[nn.Parameter]
    optimizer: torch.optim.AdamW
    rng: Generator
    step: int = 0
    curve: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, backbone: Backbone, options: FinetuneOptions, rng: Generator) -> Finetuning:
        """Line 2: inject the factors."""
        factors = backbone.add_lora(options.rank, rng)
        optimizer = torch.optim.AdamW(factors, lr=options.lr, weight_decay=options.weight_decay)
        return cls(factors, optimizer, rng)


@dataclass(frozen=True, slots=True)
class FinetuneStep:
    """What a step reports."""

    step: int
    loss: float


def encode_conditions(backbone: Backbone, tokens: ConceptTokens) -> Conditioning:
    """Gamma(c^(i)) for every photo, once: lines 1 and 7, the tokens being fixed."""
    prompts = [tokens.together(i) for i in range(len(tokens.residuals))]
    with torch.no_grad():
        return backbone.encode_text(prompts, tokens.rows())


def finetune(
    backbone: Backbone,
    z_0: Tensor,
    conditions: Conditioning,
    state: Finetuning,
    options: FinetuneOptions,
) -> Iterator[FinetuneStep]:
    """Run Algorithm 2 from `state`, in place; the caller may stop between any two steps.

    Ends as `optimize_tokens` does.
    z_0: (N, V, c, h, w). conditions: N of them, from `encode_conditions`.
    """
    fixed = evaluation_draw(
        backbone,
        z_0,
        per_photo=options.evaluation_times,
        negatives=0,
        rng=Generator().manual_seed(EVALUATION_SEED),
    )
    rule = PlateauRule(
        every=options.evaluate_every, window=options.plateau_window, ratio=options.plateau_ratio
    )
    while True:  # line 3
        if state.step % rule.every == 0 or state.step == options.steps:
            with torch.no_grad():
                state.curve.append(finetune_loss(backbone, z_0, fixed, conditions).mean().item())
        if state.step == options.steps or rule.reached(state.curve):
            return
        draw = draw_batch(backbone, z_0, batch=options.batch, negatives=0, rng=state.rng)  # 4, 5
        loss = finetune_loss(backbone, z_0, draw, conditions).mean()
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.factors, options.clip or math.inf)
        state.optimizer.step()  # line 9
        state.step += 1
        yield FinetuneStep(state.step, loss.item())


def finetune_loss(backbone: Backbone, z_0: Tensor, draw: Draw, conditions: Conditioning) -> Tensor:
    """L_ft of each sample (line 8): (B,)."""
    level = backbone.noise_level(draw.t)
    x = z_0[draw.i, draw.view]
    prediction = backbone.predict(corrupt(x, draw.eps, level), draw.t, conditions.take(draw.i))
    return reconstruction_loss(prediction, target(x, draw.eps, level, backbone.parameterization))
