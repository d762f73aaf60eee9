"""Which choices learn objects fastest per second: short trainings, side by side.

    python -m mini.compare --artwork artwork --seconds 150

Every variant has the same seconds, world, batch and seeds, and is judged by one number that does
not depend on its parameterization or schedule: the squared error of its estimate of z_0 on
unseen pictures of one thing on a plain ground, wholly described, so of the thing, at four
signal-to-noise ratios. Low ones are where shape is decided.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from transformers import CLIPTokenizer

from mini import training
from mini.artwork import CODE_POINTS, folder_of
from mini.tokenizer import tokenizer
from mini.train_diffusion import Base, Batch, Shards, batches, scheduler, text_encoder, unet
from mini.world import World

NOUNS = 10
CPU = torch.device("cpu")
LOG_SNR = (-4.0, -2.0, 0.0, 2.0)
_SEE, _TELL = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"


class Patched(nn.Module):
    """A denoiser on 2x2 patches of the latents, called like a UNet."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z_t: Tensor, t: Tensor, encoder_hidden_states: Tensor) -> _Sample:
        """(b, 8, 16, 16) as (b, 32, 8, 8), and back."""
        tokens = functional.pixel_unshuffle(z_t, 2)
        out = self.net(tokens, t, encoder_hidden_states=encoder_hidden_states).sample
        return _Sample(functional.pixel_shuffle(out, 2))


@dataclass
class _Sample:
    sample: Tensor


class Transformer(nn.Module):
    """A plain transformer with cross-attention over 8x8 tokens; time enters with the text."""

    def __init__(self, width: int = 320, layers: int = 8) -> None:
        super().__init__()
        self.into = nn.Conv2d(32, width, 1)
        self.out = nn.Conv2d(width, 32, 1)
        self.place = nn.Parameter(0.02 * torch.randn(1, 64, width))
        self.text = nn.Linear(256, width)
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        layer = nn.TransformerDecoderLayer(
            width, 5, 4 * width, dropout=0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))

    def forward(self, x: Tensor, t: Tensor, encoder_hidden_states: Tensor) -> _Sample:
        """As a UNet: x (b, 32, 8, 8)."""
        waves = t[:, None].float() * torch.exp(-torch.arange(32).to(x) * 9.2 / 32)
        time_ = self.time(torch.cat([waves.sin(), waves.cos()], -1))[:, None]
        tokens = self.into(x).flatten(2).transpose(1, 2) + self.place + time_
        seen = self.layers(tokens, self.text(encoder_hidden_states) + time_)
        return _Sample(self.out(seen.transpose(1, 2).unflatten(2, (8, 8))))


@dataclass(frozen=True)
class Variant:
    """One way to train; `times` draws t from a uniform u in [0, 1)."""

    net: Callable[[], nn.Module] = unet
    noise: Callable[[], DDIMScheduler] = scheduler
    prediction: str = "v"
    times: Callable[[Tensor], Tensor] = lambda u: u
    batch: int = 64
    lr: float = 1e-3
    compiled: bool = False
    plain: float = 0.0  # the share of plain pictures and whole captions in the first half
    optimizers: Callable[[nn.Module, float], list[Optimizer]] = training.adamw


def _two_levels(*channels: int) -> nn.Module:
    down, up = ("DownBlock2D", _SEE), (_TELL, "UpBlock2D")
    return unet(channels, down_block_types=down, up_block_types=up)


def _patched(*channels: int) -> nn.Module:
    return Patched(
        unet(
            channels, sample_size=8, in_channels=32, out_channels=32,
            down_block_types=(_SEE,) * 2, up_block_types=(_TELL,) * 2,
        )
    )  # fmt: skip


def _normal(u: Tensor) -> Tensor:
    return torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)).sigmoid()


_POOLED: dict[str, Any] = {"addition_embed_type": "text", "addition_embed_type_num_heads": 4}
PLAIN = Variant()
VARIANTS = {
    "the recipe at batch 64": PLAIN,
    "unet 64-128-256": replace(PLAIN, net=lambda: unet((64, 128, 256))),
    "unet 128-192-192": replace(PLAIN, net=lambda: unet((128, 192, 192))),
    "unet 96-192-192": replace(PLAIN, net=lambda: unet((96, 192, 192))),
    "unet 96-256-128": replace(PLAIN, net=lambda: unet((96, 256, 128))),
    "unet 96-256, two levels": replace(PLAIN, net=lambda: _two_levels(96, 256)),
    "unet 192-256 on 2x2 patches": replace(PLAIN, net=lambda: _patched(192, 256)),
    "transformer 320x8 on 2x2 patches": replace(PLAIN, net=lambda: Patched(Transformer())),
    "x0-prediction": replace(PLAIN, prediction="x0"),
    "more noise (square root of u)": replace(PLAIN, times=Tensor.sqrt),
    "middle noise (logit-normal)": replace(PLAIN, times=_normal),
    "pooled text": replace(PLAIN, plain=0.8, net=lambda: unet(**_POOLED)),
    "pooled text, scale and shift": replace(
        PLAIN, plain=0.8, net=lambda: unet(**_POOLED, resnet_time_scale_shift="scale_shift")
    ),
    "cosine schedule": replace(PLAIN, noise=lambda: scheduler(beta_schedule="squaredcos_cap_v2")),
    "plain first, batch 32": replace(PLAIN, batch=32, plain=0.8),
    "plain first, batch 16": replace(PLAIN, batch=16, plain=0.8, lr=7e-4),
    "plain first, batch 32, Muon": replace(PLAIN, batch=32, plain=0.8, optimizers=training.muon),
    "lr 5e-4": replace(PLAIN, lr=5e-4),
    "lr 2e-3": replace(PLAIN, lr=2e-3),
    "plain pictures first": replace(PLAIN, plain=0.8),
    "torch.compile": replace(PLAIN, compiled=True),
}


def estimate(variant: Variant, base: Callable[..., Tensor], levels: Tensor, batch: Batch, t: Tensor,
             eps: Tensor) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The training loss and the estimate of z_0."""
    alpha, sigma = (
        level[:, None, None, None] for level in (levels[t].sqrt(), (1 - levels[t]).sqrt())
    )
    z_t = alpha * batch.z_0 + sigma * eps
    out = base(z_t, t, batch.tokens).float()
    if variant.prediction == "x0":
        return functional.mse_loss(out, batch.z_0), out
    return functional.mse_loss(out, alpha * eps - sigma * batch.z_0), alpha * z_t - sigma * out


@dataclass(frozen=True)
class Bench:
    """What every variant is given, and what it is judged on."""

    world: World
    vae: AutoencoderTiny
    tokens: CLIPTokenizer
    seconds: float
    pictures: float
    unseen: Batch

    def train(self, variant: Variant, seed: int) -> tuple[Base, float]:
        """Train for the time there is: the averaged base, and the pictures seen a second."""
        torch.manual_seed(seed)
        base = Base(text_encoder(self.tokens), variant.net())
        base.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        levels = variant.noise().alphas_cumprod
        share, plain = 0.0, torch.tensor(variant.plain)
        optimizers = variant.optimizers(base, variant.lr)
        full = [group["lr"] for each in optimizers for group in each.param_groups]
        average = training.Average(0.99)
        drawn = training.Drawn(Shards(self.world, self.tokens), seed, plain)
        source = batches(drawn, self.vae, variant.batch, CPU)
        call = torch.compile(base) if variant.compiled else base
        next(source)  # the first shard is drawn before the clock starts
        began, step, pictures = time.monotonic(), 0, 0
        while share < 1:
            groups = [group for each in optimizers for group in each.param_groups]
            for group, lr in zip(groups, full, strict=True):  # warm up, fall over the second half
                group["lr"] = lr * min((step + 1) / 100, 2 - 2 * share, 1.0)
            plain.fill_(variant.plain if share < 0.5 else 0.0)
            batch = next(source)
            t = (variant.times(torch.rand(len(batch.z_0))) * 1000).long().clamp(0, 999)
            with training.half(CPU):
                loss, _ = estimate(variant, call, levels, batch, t, torch.randn_like(batch.z_0))
            base.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(base.parameters(), 1.0)
            for each in optimizers:
                each.step()
            average.update(base, step)
            step, pictures = step + 1, pictures + len(batch.z_0)
            spent = time.monotonic() - began
            share = max(spent / self.seconds, pictures / self.pictures)
        base.load_state_dict(average.values, strict=False)
        return base.eval(), pictures / spent

    @torch.no_grad()
    def errors(self, variant: Variant, base: Base) -> list[float]:
        """The mean squared error of z_0 at each of LOG_SNR."""
        levels = variant.noise().alphas_cumprod
        snr = torch.logit(levels.double().clamp(1e-9, 1 - 1e-9))
        eps = torch.randn(self.unseen.z_0.shape, generator=torch.Generator().manual_seed(1))
        found = []
        for log_snr in LOG_SNR:
            t = (snr - log_snr).abs().argmin().expand(len(eps))
            with training.half(CPU):
                _, z_0 = estimate(variant, base, levels, self.unseen, t, eps)
            found.append(functional.mse_loss(z_0, self.unseen.z_0).item())
        return found


def main() -> None:
    parser = training.arguments(__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--pictures", type=float, default=math.inf, help="stop there instead")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), help="variants")
    args = parser.parse_args()
    training.device()
    tokens = tokenizer(folder_of(CODE_POINTS, args.artwork) / "data-by-emoji.json")
    vae = AutoencoderTiny.from_pretrained(args.work / "vae")
    world = World(args.artwork / "icons.npz")
    world.words = {name: words[:NOUNS] for name, words in world.words.items()}
    torch.manual_seed(999)
    drawn = training.Drawn(Shards(world, tokens), 999, torch.tensor(1.0))
    unseen = next(batches(drawn, vae, 1024, CPU))
    bench = Bench(world, vae, tokens, args.seconds, args.pictures, unseen)
    print(f"{'':34}" + "".join(f"{f'snr {snr:+.0f}':>9}" for snr in LOG_SNR) + "   pictures/s")
    for name in args.only:
        base, speed = bench.train(VARIANTS[name], args.seed)
        errors = bench.errors(VARIANTS[name], base)
        print(f"{name:34}" + "".join(f"{e:9.4f}" for e in errors) + f"{speed:13.0f}", flush=True)


if __name__ == "__main__":
    main()
