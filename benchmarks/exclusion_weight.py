"""What beta does on the practice base, by the loss.

    python benchmarks/exclusion_weight.py [--seeds 3] [--betas 0 0.05 0.1 0.5 1]

Learns [zuzu] from examples/zuzu at each beta and prints, as means over seeds with a 95 % interval
(Student's t):

- unseen: the denoising loss on pictures of zuzu in five places that no photo shows, under prompts
  like "a [zuzu] in a field", on fixed noise and times. Lower: the target holds zuzu and leaves the
  place to the prompt. The loss under "a teal alien ..." without a concept is printed first.
- residual gap: how far a residual alone moves the prediction for the *other* photos (Eq. 4).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone, Prompt, Rows, Slot
from prism_cli.backbones.catalog import MINI_RECIPE
from prism_cli.backbones.corruption import corrupt, target
from prism_cli.method.conditions import NULL
from prism_cli.method.convergence import evaluation_draw
from prism_cli.method.finetuning import Finetuning, encode_conditions, finetune
from prism_cli.method.losses import reconstruction_loss
from prism_cli.method.token_optimization import TokenTraining, optimize_tokens, token_losses
from prism_cli.method.tokens import init_tokens
from prism_cli.runtime import detect, generator
from prism_cli.services.pictures import to_tensor

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))
import make_examples as drawn  # type: ignore[import-not-found]  # noqa: E402 (it lies beside the pictures)

T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
TIMES = 6  # per unseen picture
UNSEEN = (
    (drawn.field, "in a field"),
    (lambda: drawn.dots("#1c9c94", "#5cc4bc"), "on a dotted teal background"),
    (drawn.city, "in the city"),
    (lambda: drawn.plain("#2f6be0"), "on a plain blue background"),
    (lambda: drawn.gradient("#ff9ec4", "#ffb870"), "on a pink to orange background"),
)


def small(picture: Image.Image) -> np.ndarray:
    """A picture at the base's size."""
    return np.array(picture.convert("RGB").resize((64, 64), Image.Resampling.LANCZOS))


def unseen_pictures() -> Tensor:
    """Zuzu where no photo shows it: (5, 3, 64, 64)."""
    place = drawn.EXAMPLES["zuzu"][0].place
    examples = [
        replace(drawn.EXAMPLES["zuzu"][0], background=background, place=place)
        for background, _ in UNSEEN
    ]
    return to_tensor([small(drawn.draw(example)) for example in examples])


@torch.no_grad()
def loss_on(backbone: Backbone, images: Tensor, prompts: list[Prompt], rows: Rows) -> float:
    """The denoising loss of `images` under `prompts`, on fixed noise and times."""
    z_0 = backbone.encode_images(images)[:, None]
    draw = evaluation_draw(backbone, z_0, per_photo=TIMES, negatives=0, rng=generator(1))
    level, x = backbone.noise_level(draw.t), z_0[draw.i, draw.view]
    cond = backbone.encode_text(prompts, rows).take(draw.i)
    prediction = backbone.predict(corrupt(x, draw.eps, level), draw.t, cond)
    wanted = target(x, draw.eps, level, backbone.parameterization)
    return reconstruction_loss(prediction, wanted).mean().item()


def learn(beta: float, seed: int, photos: Tensor, captions: list[str]) -> tuple[float, float]:
    """Train at `beta`: the loss on unseen pictures, and the residual gap."""
    backbone = catalog.load(catalog.resolve("mini"), detect())  # fresh: no factors of another run
    options = replace(MINI_RECIPE.tokens, beta=beta, plateau_ratio=0.0)
    z_0, rng = backbone.encode_images(photos)[:, None], generator(seed)
    tokens = init_tokens(
        backbone, "zuzu", captions, length=1, word=None, residual_length=None, rng=rng
    )
    for _ in optimize_tokens(backbone, z_0, TokenTraining.start(tokens, options, rng), options):
        pass
    fixed = evaluation_draw(backbone, z_0, per_photo=TIMES, negatives=1, rng=generator(1))
    with torch.no_grad():
        gap = token_losses(backbone, z_0, fixed, tokens, backbone.encode_text([NULL], {})).excl
    tuning = replace(MINI_RECIPE.finetuning, plateau_ratio=0.0)
    state = Finetuning.start(backbone, tuning, generator(seed + 1))
    conditions = encode_conditions(backbone, tokens, preserved=tuning.preserved)
    for _ in finetune(backbone, z_0, conditions, state, tuning):
        pass
    prompts: list[Prompt] = [("a ", Slot("zuzu"), f" {place}") for _, place in UNSEEN]
    unseen = loss_on(backbone, unseen_pictures(), prompts, tokens.rows())
    return unseen, gap.mean().item()


def interval(values: list[float]) -> str:
    """Mean and half the 95 % interval."""
    half = T_95[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.3f} +- {half:.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What beta does on the practice base.")
    parser.add_argument("--seeds", type=int, default=3, choices=sorted(T_95))
    parser.add_argument("--betas", type=float, nargs="+", default=[0, 0.05, 0.1, 0.5, 1])
    arguments = parser.parse_args()
    files = sorted((EXAMPLES / "zuzu").glob("*.png"))
    photos = to_tensor([small(Image.open(file)) for file in files])
    captions = [file.with_suffix(".txt").read_text("utf-8").strip() for file in files]
    base = catalog.load(catalog.resolve("mini"), detect())
    words: list[Prompt] = [(f"a teal alien with an orange crown {place}",) for _, place in UNSEEN]
    print(f"without a concept, in words: unseen {loss_on(base, unseen_pictures(), words, {}):.3f}")
    for beta in arguments.betas:
        runs = [learn(beta, seed, photos, captions) for seed in range(arguments.seeds)]
        unseen, gap = ([run[k] for run in runs] for k in (0, 1))
        print(
            f"beta {beta:5g}  unseen {interval(unseen)}  residual gap {interval(gap)}", flush=True
        )


if __name__ == "__main__":
    main()
