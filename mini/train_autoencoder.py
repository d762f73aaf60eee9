"""Train the autoencoder: 64x64 pictures to 16x16 latents of 8 channels and back.

    python -m mini.train_autoencoder --artwork artwork --minutes 20

It sees 32 px crops (both nets are convolutional, and crops are four times as many pictures a
second) of world pictures and of free photographs. A penalty draws the latents to zero mean, unit
variance and no correlation: the decoder squashes them at 3, and diffusion wants a white space.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mini import training
from mini.artwork import PHOTOGRAPH_FOLDER, PHOTOGRAPHS
from mini.world import World

CROP = 32
PHOTO_SHARE = 0.25
LATENT_NOISE = 0.03  # what the decoder learns to shrug off: a sampler's last crumbs


def autoencoder() -> AutoencoderTiny:
    """The net, untrained."""
    return AutoencoderTiny(
        in_channels=3, out_channels=3, latent_channels=8,
        encoder_block_out_channels=(64, 64, 64), num_encoder_blocks=(1, 2, 3),
        decoder_block_out_channels=(64, 64, 64), num_decoder_blocks=(3, 2, 1),
        scaling_factor=1.0,
    )  # fmt: skip


def photographs(folder: Path) -> list[np.ndarray]:
    """Each photograph at several sizes, (h, w, 3) uint8: near and far detail both."""
    pyramid = []
    for each in PHOTOGRAPHS:
        picture = Image.open(folder / each.file).convert("RGB")
        for short in (96, 160, 288, 512):
            scale = short / min(picture.size)
            size = (round(picture.width * scale), round(picture.height * scale))
            pyramid.append(np.asarray(picture.resize(size, Image.Resampling.LANCZOS)))
    return pyramid


def crops(world: World, photos: list[np.ndarray], batch: int, seed: int) -> Iterator[Tensor]:
    """Batches of crops in [-1, 1], (batch, 3, CROP, CROP)."""
    rng = np.random.default_rng(seed)
    while True:
        pictures = []
        for _ in range(batch):
            if rng.random() < PHOTO_SHARE:
                source = photos[rng.integers(len(photos))]
            else:
                source = world.draw(world.sample(rng), rng)
            top = rng.integers(source.shape[0] - CROP + 1)
            left = rng.integers(source.shape[1] - CROP + 1)
            crop = source[top : top + CROP, left : left + CROP]
            pictures.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
        yield torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def whiteness(z: Tensor) -> Tensor:
    """How far the latents' mean and covariance over a batch are from 0 and 1."""
    flat = z.float().transpose(0, 1).flatten(1)
    covariance = torch.cov(flat)
    return flat.mean(1).square().mean() + (covariance - torch.eye(len(flat)).to(z)).square().mean()


def psnr(net: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Each reconstruction's peak signal-to-noise ratio in dB; pictures (b, 3, h, w) in [-1, 1]."""
    with torch.no_grad():
        back = net.decode(net.encode(pictures).latents).sample.clamp(-1, 1)
    return -10 * torch.log10(((back - pictures) / 2).square().flatten(1).mean(1))


def main() -> None:
    parser = training.arguments(__doc__.splitlines()[0], steps=20_000, batch=96, lr=1.5e-3)
    args = parser.parse_args()
    where = training.device()
    torch.manual_seed(args.seed)
    net = autoencoder().to(where, memory_format=torch.channels_last)
    run = training.Run(
        net, training.adamw(net, args.lr, weight_decay=0.0), args.work / "autoencoder.pt",
        steps=args.steps, minutes=args.minutes,
    )  # fmt: skip
    world = World(args.artwork / "icons.npz")
    batches = crops(
        world, photographs(args.artwork / PHOTOGRAPH_FOLDER), args.batch, args.seed + run.step
    )
    seen: dict[str, float] = {}

    def report() -> str:
        return "  ".join(f"{name} {value:.4f}" for name, value in seen.items())

    for _ in run.steps_left(report):
        x = next(batches).to(where, memory_format=torch.channels_last)
        with training.half(where):
            z = net.encode(x).latents
            back = net.decode(z + LATENT_NOISE * torch.randn_like(z)).sample
        error = back.float() - x
        edges = sum(error.diff(dim=axis).abs().mean() for axis in (-1, -2))
        loss = error.square().mean() + 0.05 * error.abs().mean() + 0.05 * edges
        white = whiteness(z)
        run.update(loss + 0.01 * white)
        seen = {"mse": functional.mse_loss(back.float(), x).item(), "white": white.item()}

    net = run.averaged()
    rng = np.random.default_rng(args.seed + 1_000_000)
    pictures = np.stack([world.draw(world.sample(rng), rng) for _ in range(512)])
    x = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1).to(where)
    with torch.no_grad():
        spread = net.encode(x).latents.std().item()
    net.register_to_config(scaling_factor=round(1 / spread, 3))  # latents of unit variance
    folder = args.work / "vae"
    net.to(memory_format=torch.contiguous_format).save_pretrained(folder)
    print(f"PSNR on new pictures of the world: {psnr(net, x).mean():.2f} dB; {folder}")


if __name__ == "__main__":
    main()
