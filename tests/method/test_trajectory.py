"""The first losses of both algorithms on the embedded base and on tiny ones, pinned.

A change of these numbers is a change of the method, or of the base. They come from one CPU in fp32;
another CPU, or another number of threads, adds up in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone
from prism_cli.method.finetuning import Finetuning, encode_conditions, finetune
from prism_cli.method.token_optimization import TokenTraining, optimize_tokens
from prism_cli.method.tokens import ConceptTokens, init_tokens
from prism_cli.settings import FinetuneOptions, TokenOptions
from tests.bases import CPU, fresh_mini, mini, seeded
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipeline import FAMILY, SIZE

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
TINY_CAPTIONS = ("a red dog at night", "a cat on snow", "a box")  # a tiny base reads 16 tokens


class First(NamedTuple):
    """Five losses of each kind, and the fixed loss of each stage before and after them."""

    rec: Sequence[float]
    excl: Sequence[float]
    tokens: Sequence[float]
    ft: Sequence[float]
    lora: Sequence[float]


KINDS: dict[str, Callable[[Path], Path]] = {**FAMILY, "flux": save_tiny_flux}
PINNED = {
    "sd15": First(
        rec=[1.14828, 1.24728, 1.10567, 1.16551, 1.15089],
        excl=[0.00459335, 0.00635302, 0.00459345, 0.00272885, 0.00493023],
        tokens=[1.18299, 1.18086],
        ft=[1.27651, 1.07848, 1.10091, 1.13674, 1.17204],
        lora=[1.18066, 1.17738],
    ),
    "sd21-v": First(
        rec=[0.242518, 0.905798, 0.323411, 0.600877, 0.604112],
        excl=[0.00398928, 0.00416621, 0.00328919, 0.00652352, 0.00430353],
        tokens=[0.466495, 0.464887],
        ft=[0.467731, 0.751739, 0.208336, 0.122244, 0.659265],
        lora=[0.464651, 0.463457],
    ),
    "sdxl": First(
        rec=[1.08798, 1.10673, 1.09701, 1.05765, 1.12620],
        excl=[0.0315128, 0.0414172, 0.0330030, 0.0390676, 0.0339694],
        tokens=[1.13097, 1.12712],
        ft=[1.13707, 0.998840, 1.09738, 0.979048, 0.949571],
        lora=[1.12522, 1.11982],
    ),
    "flux": First(
        rec=[1.37582, 1.36940, 1.25001, 1.21167, 1.28678],
        excl=[0.00711208, 0.00169966, 0.00116415, 0.00131093, 0.00173737],
        tokens=[1.33468, 1.33204],
        ft=[1.18899, 1.26470, 1.35286, 1.26470, 1.18670],
        lora=[1.33196, 1.32927],
    ),
}


def latents(base: Backbone, side: int = 64) -> Tensor:
    """Three pictures of coloured ramps: (3, 1, c, h, w)."""
    ramp = torch.linspace(-1, 1, side)
    down, across = torch.meshgrid(ramp, ramp, indexing="ij")
    pictures = [
        torch.stack([down, across, -down]),
        torch.stack([across * down, -across, down]),
        torch.stack([-across, down.square(), across.square() - 0.5]),
    ]
    return base.encode_images(torch.stack(pictures))[:, None]


def tokens_of(base: Backbone, captions: Sequence[str] = CAPTIONS) -> ConceptTokens:
    return init_tokens(
        base, "x", captions, length=1, word=None, residual_length=None, rng=seeded(7)
    )


def test_the_first_five_losses_of_algorithm_1() -> None:
    """L_rec and L_excl of five steps, and the fixed loss before and after them."""
    base = mini()
    state = TokenTraining.start(tokens_of(base), TOKENS, seeded(8))

    steps = list(optimize_tokens(base, latents(base), state, TOKENS))

    assert [step.rec for step in steps] == pytest.approx(
        [1.27546, 0.830919, 1.18235, 0.300843, 1.04098], rel=ANOTHER_CPU
    )
    assert [step.excl for step in steps] == pytest.approx(
        [0.604963, 0.286362, 0.567905, 0.0713855, 0.445297], rel=ANOTHER_CPU
    )
    assert state.curve == pytest.approx([0.9022, 0.721988], rel=ANOTHER_CPU)


def test_the_first_five_losses_of_algorithm_2() -> None:
    """L_ft of five steps, and the fixed loss before and after them."""
    base = fresh_mini()
    state = Finetuning.start(base, FINETUNING, seeded(9))
    conditions = encode_conditions(base, tokens_of(base))

    steps = list(finetune(base, latents(base), conditions, state, FINETUNING))

    assert [step.rec for step in steps] == pytest.approx(
        [0.398437, 0.610826, 0.957887, 0.413995, 0.325526], rel=ANOTHER_CPU
    )
    assert state.curve == pytest.approx([0.88227, 0.751863], rel=ANOTHER_CPU)


@pytest.mark.parametrize("kind", PINNED)
def test_the_first_five_losses_on_each_kind_of_base(kind: str, tmp_path: Path) -> None:
    """Both algorithms, the second on the tokens of the first, in eps, v and flow form."""
    base = catalog.load(catalog.resolve(str(KINDS[kind](tmp_path / kind))), CPU)
    z_0 = latents(base, SIZE)
    tokens = TokenTraining.start(tokens_of(base, TINY_CAPTIONS), TOKENS, seeded(8))

    first = list(optimize_tokens(base, z_0, tokens, TOKENS))
    conditions = encode_conditions(base, tokens.tokens)
    lora = Finetuning.start(base, FINETUNING, seeded(9))
    second = list(finetune(base, z_0, conditions, lora, FINETUNING))

    seen = First(
        rec=[step.rec for step in first],
        excl=[step.excl for step in first],
        tokens=tokens.curve,
        ft=[step.rec for step in second],
        lora=lora.curve,
    )
    for name, losses in PINNED[kind]._asdict().items():
        assert getattr(seen, name) == pytest.approx(losses, rel=ANOTHER_CPU), name
