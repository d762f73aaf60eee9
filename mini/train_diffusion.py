"""Train the base: the text encoder and the UNet together, on the world's latents and captions.

    python -m mini.train_diffusion --artwork artwork --minutes 60

Needs the autoencoder's `work/vae`. `--start prism_cli/bases/mini` goes on from shipped weights,
without their optimizer's state. Pictures are drawn and encoded in shards, and a shard is seen
several times, at other noise and under another caption each: encoding
costs a sixth of a step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mini import training
from mini.artwork import CODE_POINTS, folder_of
from mini.tokenizer import LENGTH, tokenizer
from mini.world import Picture, World, caption, plain_caption

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
def encoded(vae: AutoencoderTiny, pictures: np.ndarray, where: torch.device) -> Tensor:
    """The latents of (n, 64, 64, 3) uint8 pictures: (n, 8, 16, 16), on `where`."""
    latents = []
    for part in np.array_split(pictures, max(1, len(pictures) // 256)):
        x = torch.from_numpy(part).to(where).permute(0, 3, 1, 2).float() / 127.5 - 1
        with training.half(where):
            latents.append(vae.encode(x.contiguous(memory_format=torch.channels_last)).latents)
    return torch.cat(latents).float() * vae.config.scaling_factor


def batches(
    world: World, vae: AutoencoderTiny, tokens: CLIPTokenizer, *, batch: int, seed: int,
    where: torch.device, plain: Callable[[], float] = lambda: 0.0,
) -> Iterator[Batch]:  # fmt: skip
    """The training's pictures, for ever.

    plain: the share that is plain, as in `World.sample`, and of captions that say everything.
    """
    rng = np.random.default_rng(seed)
    while True:
        described: list[Picture] = [world.sample(rng, plain=plain()) for _ in range(SHARD)]
        latents = encoded(vae, np.stack([world.draw(each, rng) for each in described]), where)
        for _ in range(VIEWS):
            for chosen in np.array_split(rng.permutation(SHARD), SHARD // batch):
                captions = [
                    plain_caption(described[index])
                    if rng.random() < plain()
                    else caption(described[index], rng)
                    for index in chosen
                ]
                ids = tokens(captions, padding="max_length", truncation=True, return_tensors="pt")
                yield Batch(latents[torch.from_numpy(chosen).to(where)], ids.input_ids.to(where))


def plain_share(done: float) -> float:
    """The share of plain pictures and whole captions, by how much of the training is done.

    Shapes come first: backgrounds and colours are soon learned, things are not, and least where
    the caption does not say which of four drawings it means. `mini.compare` has what it gains.
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
    base.unet.to(memory_format=torch.channels_last)
    noise = scheduler()
    levels = noise.alphas_cumprod.to(where)
    run = training.Run(
        base, training.muon(base, args.lr), args.work / "base.pt", steps=args.steps,
        minutes=args.minutes,
    )  # fmt: skip
    vae = AutoencoderTiny.from_pretrained(args.work / "vae").to(where)
    world = World(args.artwork / "icons.npz")
    source = batches(
        world, vae, tokens, batch=args.batch, seed=args.seed + run.step, where=where,
        plain=lambda: plain_share(run.step / args.steps),
    )  # fmt: skip
    losses: list[float] = []

    def report() -> str:
        recent, losses[:] = sum(losses) / max(len(losses), 1), []
        return f"v {recent:.4f}"

    for _ in run.steps_left(report):
        batch = next(source)
        t = torch.randint(0, 1000, (len(batch.z_0),), device=where)
        with training.half(where):
            loss = v_loss(base, levels, batch, t, torch.randn_like(batch.z_0))
        run.update(loss)
        losses.append(loss.item())

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
