"""Train the base: the text encoder and the UNet together, on the world's latents and captions.

    python -m mini.train_diffusion --artwork artwork --minutes 60

Needs the autoencoder's `work/vae`. `--start prism_cli/bases/mini` goes on from shipped weights,
without their optimizer's state. Pictures are drawn and encoded in shards, and a shard is seen
several times, at other noise and under another caption each: encoding
costs a sixth of a step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mini import training
from mini.artwork import CODE_POINTS, folder_of
from mini.tokenizer import LENGTH, tokenizer
from mini.world import World, caption, plain_caption

WIDTH = 256  # of a token's state
SHARD, VIEWS = 4096, 8


def text_encoder(tokens: CLIPTokenizer) -> CLIPTextModel:
    """Three layers, untrained."""
    config = CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=WIDTH, intermediate_size=3 * WIDTH,
        num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=LENGTH,
        bos_token_id=tokens.bos_token_id, eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id, projection_dim=WIDTH,
    )  # fmt: skip
    return CLIPTextModel(config)


def unet(channels: tuple[int, ...] = (96, 128, 224), **changes: object) -> UNet2DConditionModel:
    """The denoiser, untrained: cross-attention at 8x8 and 4x4, with four heads."""
    config: dict[str, object] = {
        "sample_size": 16, "in_channels": 8, "out_channels": 8, "layers_per_block": 1,
        "block_out_channels": channels, "cross_attention_dim": WIDTH, "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 16, "resnet_time_scale_shift": "scale_shift",
    }  # fmt: skip
    return UNet2DConditionModel(**(config | changes))


def scheduler(**changes: object) -> DDIMScheduler:
    """v-prediction with zero terminal SNR: what starts as pure noise can end as a flat colour."""
    config: dict[str, object] = {
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
        "clip_sample": False,
        "prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing", "steps_offset": 1,
    }  # fmt: skip
    return DDIMScheduler(**(config | changes))


class Base(nn.Module):
    """The two nets that are trained together."""

    def __init__(self, text_encoder: CLIPTextModel, unet: nn.Module) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, z_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        """The prediction at z_t (b, c, h, w) and t (b,), under `tokens` (b, LENGTH)."""
        states = self.text_encoder(tokens).last_hidden_state
        return self.unet(z_t, t, encoder_hidden_states=states).sample


@dataclass
class Batch:
    """z_0 (b, 8, 16, 16) and its caption's tokens (b, LENGTH)."""

    z_0: Tensor
    tokens: Tensor


@torch.no_grad()
def encoded(vae: AutoencoderTiny, pictures: Tensor, where: torch.device) -> Tensor:
    """The latents of (n, 64, 64, 3) uint8 pictures: (n, 8, 16, 16), on `where`."""
    latents = []
    for part in pictures.to(where).split(256):
        x = part.permute(0, 3, 1, 2).float() / 127.5 - 1
        with training.half(where):
            latents.append(vae.encode(x.contiguous(memory_format=torch.channels_last)).latents)
    return torch.cat(latents).float() * vae.config.scaling_factor


@dataclass
class Shards:
    """Draws pictures and words them."""

    world: World
    tokens: CLIPTokenizer

    def __call__(self, rng: Generator, plain: float) -> tuple[Tensor, Tensor]:
        """Pictures (SHARD, 64, 64, 3) uint8, and tokens of their captions (VIEWS, SHARD, LENGTH).

        plain: the share that is plain, as in `World.sample`, and of captions that say everything.
        """
        described = [self.world.sample(rng, plain=plain) for _ in range(SHARD)]
        pictures = [torch.from_numpy(self.world.draw(each, rng)) for each in described]
        captions = [
            plain_caption(each) if rng.random() < plain else caption(each, rng)
            for _ in range(VIEWS)
            for each in described
        ]
        ids = self.tokens(captions, padding="max_length", truncation=True, return_tensors="pt")
        return torch.stack(pictures), ids.input_ids.view(VIEWS, SHARD, LENGTH)


def batches(
    shards: Iterable[tuple[Tensor, Tensor]], vae: AutoencoderTiny, batch: int,
    where: torch.device,
) -> Iterator[Batch]:  # fmt: skip
    """The shards' pictures on `where`, as often as they have captions, in an order of their own.

    batch: at most SHARD. The order is torch's global chance.
    """
    for pictures, captions in shards:
        latents, ids = encoded(vae, pictures, where), captions.to(where)
        for view in ids:
            order = torch.randperm(len(latents), device=where)
            for chosen in order[: len(order) // batch * batch].split(batch):
                yield Batch(latents[chosen], view[chosen])


def plain_share(done: float) -> float:
    """The share of plain pictures and whole captions, by how much of the training is done.

    Shapes come first: backgrounds and colours are soon learned, things are not, and least where
    the caption does not say which of seven drawings it means. `mini.compare` has what it gains.
    """
    return float(np.interp(done, (0.35, 0.7), (0.75, 0.15)))


def v_loss(base: Base, levels: Tensor, batch: Batch, t: Tensor, eps: Tensor) -> Tensor:
    """The mean squared error of v (Salimans and Ho 2022), unweighted.

    levels: the schedule's cumulative alphas, (1000,). Min-SNR weights would starve the noisy end,
    which is where shape is decided.
    """
    alpha, sigma = levels[t].sqrt(), (1 - levels[t]).sqrt()
    alpha, sigma = alpha[:, None, None, None], sigma[:, None, None, None]
    z_t = alpha * batch.z_0 + sigma * eps
    return functional.mse_loss(base(z_t, t, batch.tokens).float(), alpha * eps - sigma * batch.z_0)


def forget_paths(folder: Path) -> None:
    """Take out of the configs where on this machine their parts were read from."""
    for path in folder.rglob("config.json"):
        config = json.loads(path.read_text("utf-8"))
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def main() -> None:
    parser = training.arguments(__doc__.splitlines()[0], steps=40_000, batch=32, lr=1e-3)
    args = parser.parse_args()
    where = training.device()
    torch.manual_seed(args.seed)
    tokens = tokenizer(folder_of(CODE_POINTS, args.artwork) / "data-by-emoji.json")
    base = Base(text_encoder(tokens), unet()).to(where)
    if args.start is not None:
        began = CLIPTokenizer.from_pretrained(args.start / "tokenizer")
        if began.get_vocab() != tokens.get_vocab():
            raise SystemExit(f"{args.start} has another vocabulary: its weights are of no use")
        for part in ("text_encoder", "unet"):
            net = getattr(base, part)
            net.load_state_dict(type(net).from_pretrained(args.start / part).state_dict())
    base.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    noise = scheduler()
    levels = noise.alphas_cumprod.to(where)
    run = training.Run(
        base, training.muon(base, args.lr), args.work / "base.pt", steps=args.steps,
        minutes=args.minutes,
    )  # fmt: skip
    vae = AutoencoderTiny.from_pretrained(args.work / "vae").to(where)
    world = World(args.artwork / "icons.npz")
    plain = torch.tensor(plain_share(run.done)).share_memory_()
    drawn = training.Drawn(Shards(world, tokens), args.seed + run.step, plain)
    source = batches(drawn.loaded(training.workers(where)), vae, args.batch, where)

    def update(z_0: Tensor, captions: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        with training.half(where):
            loss = v_loss(base, levels, Batch(z_0, captions), t, eps)
        run.update(loss)
        return loss.detach()

    step = training.Recorded(update) if where.type == "cuda" else update
    losses: list[Tensor] = []  # not read as they come: a GPU would be waited for

    def report() -> str:
        recent = torch.stack(losses).mean().item() if losses else math.nan
        losses.clear()
        return f"v {recent:.4f}"

    for _ in run.steps_left(report):
        plain.fill_(plain_share(run.done))
        batch = next(source)
        t = torch.randint(0, 1000, (len(batch.z_0),), device=where)
        losses.append(step(batch.z_0, batch.tokens, t, torch.randn_like(batch.z_0)))

    trained = run.averaged()
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=trained.text_encoder, tokenizer=tokens, unet=trained.unet,
        scheduler=noise, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    folder = args.work / "pipeline"
    pipeline.to(torch.float16).save_pretrained(folder)
    forget_paths(folder)
    print(f"the pipeline is in {folder}")


if __name__ == "__main__":
    main()
