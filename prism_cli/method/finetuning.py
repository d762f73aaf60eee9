"""Algorithm 2: fix the concept in the model with low-rank factors, the tokens being final."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from prism_cli.backbones.base import Backbone, Conditioning
from prism_cli.backbones.corruption import corrupt, target
from prism_cli.method.conditions import residual_only
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
    """What a step reports: its number and the two losses, means over their samples."""

    step: int
    rec: float
    keep: float


@dataclass(frozen=True, slots=True)
class FinetuneLosses:
    """L_ft of each sample of the batch, (B,), and L_keep of the first few, (P,)."""

    rec: Tensor
    keep: Tensor

    def objective(self, preservation: float) -> Tensor:
        """The mean of L_ft (line 8), and of L_keep where there is any."""
        return self.rec.mean() + (preservation * self.keep.mean() if len(self.keep) else 0)


def encode_conditions(
    backbone: Backbone, tokens: ConceptTokens, *, preserved: int = 0
) -> Conditioning:
    """Gamma(c^(i)) for every photo, once: lines 1 and 7, the tokens being fixed.

    preserved: as in `finetune_losses`; where there are any, Gamma(residual i) of every photo
    follows.
    """
    photos = range(len(tokens.residuals))
    prompts = [tokens.together(i) for i in photos]
    if preserved:
        prompts += [residual_only(tokens.concept, i) for i in photos]
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
    z_0: (N, V, c, h, w). conditions: from `encode_conditions`, with `options.preserved`.
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
                losses = finetune_losses(backbone, z_0, fixed, conditions)
            state.curve.append(losses.rec.mean().item())
        if state.step == options.steps or rule.reached(state.curve):
            return
        draw = draw_batch(backbone, z_0, batch=options.batch, negatives=0, rng=state.rng)  # 4, 5
        losses = finetune_losses(backbone, z_0, draw, conditions, preserved=options.preserved)
        state.optimizer.zero_grad(set_to_none=True)
        losses.objective(options.preservation).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.factors, options.clip or math.inf)
        state.optimizer.step()  # line 9
        state.step += 1
        keep = losses.keep.mean().item() if len(losses.keep) else 0.0
        yield FinetuneStep(state.step, losses.rec.mean().item(), keep)


def finetune_losses(
    backbone: Backbone,
    z_0: Tensor,
    draw: Draw,
    conditions: Conditioning,
    *,
    preserved: int = 0,
) -> FinetuneLosses:
    """L_ft of each sample (line 8), and L_keep of the first `preserved`.

    L_keep = || eps_lora(z_t, t, residual i) - eps(z_t, t, residual i) ||^2 is Eq. 4 for the LoRA in
    place of the tokens: without the target the model is to draw as it did, whatever z_t shows.
    Otherwise a LoRA paints what stands beside its concept, too. Of a caption without its trigger
    word it is known as "differential output preservation" (kohya-ss/sd-scripts, pull request 1710).
    """
    level = backbone.noise_level(draw.t)
    x = z_0[draw.i, draw.view]
    z_t, few = corrupt(x, draw.eps, level), slice(preserved)
    cond = conditions.take(torch.cat([draw.i, len(z_0) + draw.i[few]]))
    prediction = backbone.predict(
        torch.cat([z_t, z_t[few]]), torch.cat([draw.t, draw.t[few]]), cond
    )
    B = len(draw.i)
    rec = reconstruction_loss(prediction[:B], target(x, draw.eps, level, backbone.parameterization))
    if not preserved:
        return FinetuneLosses(rec, rec[:0])
    alone = conditions.take(len(z_0) + draw.i[few])
    with torch.no_grad(), backbone.without_lora():
        before = backbone.predict(z_t[few], draw.t[few], alone)
    return FinetuneLosses(rec, reconstruction_loss(prediction[B:], before))
