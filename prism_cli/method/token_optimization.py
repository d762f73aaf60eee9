"""Algorithm 1: learn t_target and every t_residual^(i) while the model stays frozen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from prism_cli.backbones.base import Backbone, Conditioning
from prism_cli.backbones.corruption import corrupt, target
from prism_cli.method.conditions import NULL, residual_only
from prism_cli.method.convergence import EVALUATION_SEED, PlateauRule, evaluation_draw
from prism_cli.method.draws import Draw, draw_batch
from prism_cli.method.losses import exclusion_loss, reconstruction_loss
from prism_cli.method.tokens import ConceptTokens
from prism_cli.settings import TokenOptions

# Of polynomial-decay averaging (Shamir and Zhang, 2013, "Stochastic Gradient Descent for Non-smooth
# Optimization"; its eta is one less): the mean age of what is averaged is a tenth of the steps.
WARM_UP = 9


@dataclass(slots=True)
class TokenTraining:
    """Everything that the next step depends on; what a checkpoint holds.

    averages: running ones of ``tokens.parameters()``, in their order, which the tokens end as.
    """

    tokens: ConceptTokens
    averages: list[Tensor]
    optimizer: torch.optim.AdamW
    rng: Generator
    step: int = 0
    curve: list[float] = field(default_factory=list)  # the deterministic loss, from step 0 on

    @classmethod
    def start(cls, tokens: ConceptTokens, options: TokenOptions, rng: Generator) -> TokenTraining:
        """Begin from freshly initialised tokens."""
        optimizer = torch.optim.AdamW(
            list(tokens.parameters()), lr=options.lr, weight_decay=options.weight_decay
        )
        averages = [rows.detach().clone() for rows in tokens.parameters()]
        return cls(tokens, averages, optimizer, rng)

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """Take the rows into their average: over a tenth of the steps, or what `decay` allows."""
        kept = min(decay, self.step / (self.step + WARM_UP))
        for mean, rows in zip(self.averages, self.tokens.parameters(), strict=True):
            mean.mul_(kept).add_(rows, alpha=1 - kept)

    @torch.no_grad()
    def settle(self) -> None:
        """Leave the tokens at their averages."""
        _copy(self.averages, self.tokens)

    def averaged(self) -> ConceptTokens:
        """A copy of the tokens as they would be left now."""
        return _copy(self.averages, self.tokens.detached())


def _copy(values: list[Tensor], tokens: ConceptTokens) -> ConceptTokens:
    for value, rows in zip(values, tokens.parameters(), strict=True):
        rows.copy_(value)
    return tokens


@dataclass(frozen=True, slots=True)
class TokenStep:
    """What a step reports: its number and the two losses, means over its batch."""

    step: int
    rec: float
    excl: float


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """L_rec and L_excl of each sample, (B,)."""

    rec: Tensor
    excl: Tensor

    def objective(self, beta: float) -> Tensor:
        """The batch mean of L_rec + beta L_excl (line 15)."""
        return (self.rec + beta * self.excl).mean()


def optimize_tokens(
    backbone: Backbone, z_0: Tensor, state: TokenTraining, options: TokenOptions
) -> Iterator[TokenStep]:
    """Run Algorithm 1 from `state`, in place; the caller may stop between any two steps.

    Ends at the cap, with ``state.step == options.steps``, or before, by the plateau rule; the rows
    are then their running averages (Polyak and Juditsky, 1992), which at a decay of 0 they are.
    z_0: (N, V, c, h, w), the latents of V views of N photos, computed once.
    """
    null = backbone.encode_text([NULL], {})
    anchors = options.anchors if options.beta else 0  # at beta = 0 the exclusion branch is idle
    fixed = evaluation_draw(
        backbone,
        z_0,
        per_photo=options.evaluation_times,
        negatives=min(anchors, 1),
        rng=Generator().manual_seed(EVALUATION_SEED),
    )
    rule = PlateauRule(
        every=options.evaluate_every, window=options.plateau_window, ratio=options.plateau_ratio
    )
    while True:  # line 3
        if state.step % rule.every == 0 or state.step == options.steps:
            with torch.no_grad():
                losses = token_losses(backbone, z_0, fixed, state.averaged(), null)
            state.curve.append(losses.objective(options.beta).item())
        if state.step == options.steps or rule.reached(state.curve):
            state.settle()
            return
        draw = draw_batch(  # lines 4, 5, 10
            backbone, z_0, batch=options.batch, negatives=anchors, rng=state.rng
        )
        losses = token_losses(backbone, z_0, draw, state.tokens, null)  # lines 7-14
        state.optimizer.zero_grad(set_to_none=True)
        losses.objective(options.beta).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(state.tokens.parameters()), options.clip or math.inf)
        state.optimizer.step()  # line 15; rows outside the batch have no gradient and stay
        state.step += 1
        state.average(options.ema_decay)
        yield TokenStep(state.step, losses.rec.mean().item(), losses.excl.mean().item())


def token_losses(
    backbone: Backbone, z_0: Tensor, draw: Draw, tokens: ConceptTokens, null: Conditioning
) -> TokenLosses:
    """Lines 7-14 for one batch: one forward with gradients, one without for the null prompt.

    Both exclusion branches see the *same* z_t^(j), t and noise, as line 13 says.
    """
    B, J = draw.anchors.shape
    level = backbone.noise_level(draw.t)
    x = z_0[draw.i, draw.view]
    z_i = corrupt(x, draw.eps, level)
    t_j = draw.t.repeat_interleave(J)  # (B * J,)
    z_j = corrupt(
        z_0[draw.anchors.flatten(), draw.view.repeat_interleave(J)],
        draw.eps.repeat_interleave(J, dim=0),
        backbone.noise_level(t_j),
    )
    photos = draw.i.tolist()
    prompts = [tokens.together(i) for i in photos]
    if J:
        prompts += [residual_only(tokens.concept, i) for i in photos]
    cond = backbone.encode_text(prompts, tokens.rows())
    each = [*range(B), *(B + b for b in range(B) for _ in range(J))]
    prediction = backbone.predict(torch.cat([z_i, z_j]), torch.cat([draw.t, t_j]), cond.take(each))
    rec = reconstruction_loss(prediction[:B], target(x, draw.eps, level, backbone.parameterization))
    if not J:
        return TokenLosses(rec, torch.zeros_like(rec))
    with torch.no_grad():
        anchor = backbone.predict(z_j, t_j, null.take([0] * (B * J)))
    return TokenLosses(rec, exclusion_loss(prediction[B:], anchor, J))
