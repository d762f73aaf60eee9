"""The first losses of both algorithms on the embedded base, pinned.

A change of these numbers is a change of the method, or of the base. They come from one CPU in fp32;
another CPU, or another number of threads, adds up in another order.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from prism_cli.backbones.unet import UNetBackbone
from prism_cli.method.finetuning import Finetuning, encode_conditions, finetune
from prism_cli.method.token_optimization import TokenTraining, optimize_tokens
from prism_cli.method.tokens import ConceptTokens, init_tokens
from prism_cli.settings import FinetuneOptions, TokenOptions
from tests.bases import fresh_mini, mini, seeded

# Other vector units and thread counts were seen to change a loss by 1.2e-5 at most: rounding is
# 6e-8, and Adam's first steps, which divide a gradient by itself, enlarge it where it is near zero.
# A hundred times that is still a hundredth of what a wrong noise level or a lost factor changes.
ANOTHER_CPU = 1e-3

TOKENS = TokenOptions(steps=5, batch=2, lr=5e-3, anchors=2, evaluate_every=5)
FINETUNING = FinetuneOptions(steps=5, batch=2, lr=1e-3, evaluate_every=5)
CAPTIONS = (
    "a red dog with a hat in the snow at night",
    "a small blue cat on a green background with stars",
    "a yellow box in the desert on a sunny day",
)


def latents(base: UNetBackbone) -> Tensor:
    """Three pictures of coloured ramps, (3, 1, 8, 16, 16)."""
    down, across = torch.meshgrid(
        torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij"
    )
    pictures = [
        torch.stack([down, across, -down]),
        torch.stack([across * down, -across, down]),
        torch.stack([-across, down.square(), across.square() - 0.5]),
    ]
    return base.encode_images(torch.stack(pictures))[:, None]


def tokens_of(base: UNetBackbone) -> ConceptTokens:
    return init_tokens(
        base, "x", CAPTIONS, length=1, word=None, residual_length=None, rng=seeded(7)
    )


def test_the_first_five_losses_of_algorithm_1() -> None:
    """L_rec and L_excl of five steps, and the fixed loss before and after them."""
    base = mini()
    state = TokenTraining.start(tokens_of(base), TOKENS, seeded(8))

    steps = list(optimize_tokens(base, latents(base), state, TOKENS))

    assert [step.rec for step in steps] == pytest.approx(
        [0.962507, 0.495771, 0.961073, 0.204394, 0.829503], rel=ANOTHER_CPU
    )
    assert [step.excl for step in steps] == pytest.approx(
        [1.239824, 0.0967329, 1.113248, 0.0239670, 0.271283], rel=ANOTHER_CPU
    )
    assert state.curve == pytest.approx([0.613072, 0.488192], rel=ANOTHER_CPU)


def test_the_first_five_losses_of_algorithm_2() -> None:
    """L_ft of five steps, and the fixed loss before and after them."""
    base = fresh_mini()
    state = Finetuning.start(base, FINETUNING, seeded(9))
    conditions = encode_conditions(base, tokens_of(base))

    steps = list(finetune(base, latents(base), conditions, state, FINETUNING))

    assert [step.loss for step in steps] == pytest.approx(
        [0.289902, 0.470996, 0.548529, 0.281786, 1.053960], rel=ANOTHER_CPU
    )
    assert state.curve == pytest.approx([0.606335, 0.549438], rel=ANOTHER_CPU)
