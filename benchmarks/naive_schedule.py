"""Algorithm 1 as prism runs it, against the same schedule written down naively.

    python benchmarks/naive_schedule.py

The naive loop does what a first reading of the algorithm suggests: every step it encodes the photos
with the autoencoder and every prompt with the text encoder, the null prompt included, runs the
reconstruction and both branches of every anchor as forwards of their own, and hands the whole
vocabulary to the optimizer. Photos, batch, anchors, optimizer and steps are the same; the two
loops take turns in one process. Prints ms a step, and their ratio with a 95 % bootstrap interval.
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from prism_cli.backbones import catalog
from prism_cli.backbones.corruption import corrupt, target
from prism_cli.backbones.unet import UNetBackbone
from prism_cli.method.draws import draw_batch
from prism_cli.method.losses import reconstruction_loss
from prism_cli.method.token_optimization import TokenTraining, optimize_tokens
from prism_cli.method.tokens import init_tokens
from prism_cli.runtime import detect, generator
from prism_cli.services.pictures import to_tensor
from prism_cli.settings import TokenOptions

ROUNDS, STEPS = 8, 5  # per loop: ROUNDS blocks of STEPS steps, after a block that warms up
OPTIONS = TokenOptions(batch=4, anchors=3, steps=10_000, lr=5e-3, evaluate_every=10_000)
FOLDER = Path(__file__).parents[1] / "examples" / "zuzu"


class Naive:
    """One update at a time of the naive loop."""

    def __init__(self, backbone: UNetBackbone, images: Tensor, captions: list[str]) -> None:
        self.backbone, self.images, self.rng = backbone, images, generator(0)
        words = backbone.vocabulary()["clip_l"]
        ids = [backbone.tokenizer(text, add_special_tokens=False).input_ids for text in captions]
        rows = torch.cat([words, words.mean(0, keepdim=True), *(words[i] for i in ids)])
        self.table = nn.Parameter(rows.clone())  # the vocabulary, the target, every residual
        self.target_id = len(words)
        starts = np.cumsum([self.target_id + 1, *map(len, ids)])
        self.residual_ids = [
            list(range(a, a + len(i))) for a, i in zip(starts[:-1], ids, strict=True)
        ]
        self.with_id = backbone.tokenizer("with", add_special_tokens=False).input_ids
        self.optimizer = torch.optim.AdamW([self.table], lr=OPTIONS.lr)

    def step(self) -> None:
        """Lines 4 to 15 for one batch."""
        backbone = self.backbone
        z_0 = backbone.encode_images(self.images)[:, None]
        draw = draw_batch(
            backbone, z_0, batch=OPTIONS.batch, negatives=OPTIONS.anchors, rng=self.rng
        )
        level = backbone.noise_level(draw.t)
        x = z_0[draw.i, draw.view]
        photos = draw.i.tolist()
        full = [[self.target_id, *self.with_id, *self.residual_ids[i]] for i in photos]
        prediction = self.predict(corrupt(x, draw.eps, level), draw.t, full)
        wanted = target(x, draw.eps, level, backbone.parameterization)
        loss = reconstruction_loss(prediction, wanted).mean()
        for k in range(OPTIONS.anchors):
            z_j = corrupt(z_0[draw.anchors[:, k], draw.view], draw.eps, level)
            residual = self.predict(z_j, draw.t, [self.residual_ids[i] for i in photos])
            with torch.no_grad():
                null = self.predict(z_j, draw.t, [[] for _ in photos])
            gap = (residual - null).square().flatten(1).mean(1)
            loss = loss + OPTIONS.beta * gap.mean() / OPTIONS.anchors
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def predict(self, z_t: Tensor, t: Tensor, prompts: list[list[int]]) -> Tensor:
        """Encode the prompts and run the denoiser on them."""
        tokenizer, encoder = self.backbone.tokenizer, self.backbone.text_encoder
        length = tokenizer.model_max_length
        lines = [[tokenizer.bos_token_id, *p, tokenizer.eos_token_id] for p in prompts]
        ids = torch.tensor(
            [line + [tokenizer.pad_token_id] * (length - len(line)) for line in lines]
        )
        embedding = encoder.get_input_embeddings()
        hook = embedding.register_forward_hook(lambda *_: nn.functional.embedding(ids, self.table))
        embeds = encoder(torch.zeros_like(ids)).last_hidden_state
        hook.remove()
        return self.backbone.unet(z_t, t, encoder_hidden_states=embeds).sample


def main() -> None:
    """Time both loops in turns."""
    backbone = catalog.load(catalog.resolve("mini"), detect())
    assert isinstance(backbone, UNetBackbone)
    photos = sorted(FOLDER.glob("*.png"))
    size = (64, 64)
    images = to_tensor([np.array(Image.open(p).convert("RGB").resize(size)) for p in photos])
    captions = [p.with_suffix(".txt").read_text("utf-8").strip() for p in photos]
    naive = Naive(backbone, images, captions)
    tokens = init_tokens(
        backbone, "x", captions, length=1, word=None, residual_length=None, rng=generator(0)
    )
    state = TokenTraining.start(tokens, OPTIONS, generator(0))
    ours = optimize_tokens(backbone, backbone.encode_images(images)[:, None], state, OPTIONS)

    loops = {"naive": naive.step, "prism": lambda: next(ours)}
    blocks: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS + 1):
        for name, step in loops.items():
            began = time.perf_counter()
            for _ in range(STEPS):
                step()
            blocks[name].append((time.perf_counter() - began) / STEPS * 1000)
    slow, fast = blocks["naive"][1:], blocks["prism"][1:]
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    rng = random.Random(0)
    resampled = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    low, high = resampled[50], resampled[-51]
    print(f"batch {OPTIONS.batch}, {OPTIONS.anchors} anchors, {len(photos)} photos")
    for name, times in (("naive", slow), ("prism", fast)):
        print(f"{name:6} median {statistics.median(times):7.0f} ms a step")
    print(f"ratio  {statistics.median(ratios):.2f}  (95 % interval {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
