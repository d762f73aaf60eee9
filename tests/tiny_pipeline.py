"""Pipelines in diffusers' format, a few thousand weights each, of the real classes; drawing them.

Their weights are larger than at the start of a training, so that a prompt and a step matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    PNDMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from prism_cli.backbones.base import Backbone, SamplingPlan

WORDS = ("a", "dog", "cat", "on", "red", "with", "box", "photo", "snow", "at", "night")
CONTEXT = 16  # tokens that the text encoder reads
SIZE = 16  # pixels; the latent is 8x8
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
LEGACY_END = 2  # what the published configs of SD 1.5, SD 2.1 and SDXL say the end-of-text's id is
NOISE = {  # Stable Diffusion's
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


def tiny_tokenizer(*, pad: str = END, end_first: bool = False) -> CLIPTokenizer:
    """A CLIP tokenizer that knows `WORDS` whole, and any other in letters.

    pad: SD 2.1's, and SDXL's second, pad with "!". end_first: the end-of-text has a small id, as in
    no published tokenizer; it is the largest otherwise.
    """
    characters = "!abcdefghijklmnopqrstuvwxyz"  # "!" has the id 0 in CLIP's vocabulary too
    pieces = [*characters, *(f"{character}</w>" for character in characters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        left, *rest = [*word[:-1], f"{word[-1]}</w>"]
        while rest:
            right, *rest = rest
            merges.append((left, right))
            left += right
            pieces.append(left)
    order = [BEGIN, END, *pieces] if end_first else [*pieces, BEGIN, END]
    vocabulary = {piece: k for k, piece in enumerate(dict.fromkeys(order))}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=list(dict.fromkeys(merges)),
        pad_token=pad,
        model_max_length=CONTEXT,
    )


def tiny_text_config(tokenizer: CLIPTokenizer, **settings: Any) -> CLIPTextConfig:
    """An encoder for that tokenizer: two layers, 16 wide, unless `settings` say otherwise."""
    return CLIPTextConfig(
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "initializer_factor": 10.0,
            **settings,
        }
    )


def tiny_unet(**settings: Any) -> UNet2DConditionModel:
    """Two levels, with attention in the first, unless `settings` say otherwise."""
    return UNet2DConditionModel(
        **{
            "sample_size": SIZE // 2,
            "in_channels": 4,
            "out_channels": 4,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "cross_attention_dim": 16,
            "attention_head_dim": 4,
            "norm_num_groups": 8,
            **settings,
        }
    )


def tiny_vae(scaling_factor: float) -> AutoencoderKL:
    """An autoencoder of two levels: a latent cell is two pixels wide."""
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=scaling_factor,
    )


def save_tiny_pipeline(
    folder: Path, scheduler: SchedulerMixin | None = None, seed: int = 0
) -> Path:
    """Write a pipeline of random weights to `folder`: eps and PNDM, as Stable Diffusion 1.5's."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    return _save_stable_diffusion(
        folder,
        tokenizer,
        CLIPTextModel(tiny_text_config(tokenizer)),
        tiny_unet(),
        scheduler or PNDMScheduler(skip_prk_steps=True, **NOISE),
    )


def save_tiny_sd21(folder: Path, prediction: str = "epsilon", seed: int = 0) -> Path:
    """As Stable Diffusion 2.1: a wider encoder, heads of one width, linear projections.

    prediction: "epsilon" is 2.1-base's, "v_prediction" that of the 768 px model.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(pad="!")
    config = tiny_text_config(
        tokenizer, hidden_size=24, hidden_act="gelu", eos_token_id=LEGACY_END, pad_token_id=1
    )
    return _save_stable_diffusion(
        folder,
        tokenizer,
        CLIPTextModel(config),
        tiny_unet(cross_attention_dim=24, attention_head_dim=(2, 4), use_linear_projection=True),
        DDIMScheduler(
            clip_sample=False, set_alpha_to_one=False, prediction_type=prediction, **NOISE
        ),
    )


def save_tiny_sdxl(
    folder: Path,
    *,
    zero_null: bool = True,
    end: int | None = LEGACY_END,
    end_first: bool = False,
    seed: int = 0,
) -> Path:
    """As Stable Diffusion XL: two encoders, a pooled prompt, time ids, eps and Euler.

    zero_null: ``force_zeros_for_empty_prompt``. end: the end-of-text's id as the encoders' configs
    have it; None is the tokenizers'.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(end_first=end_first)
    tokenizer_2 = tiny_tokenizer(pad="!", end_first=end_first)
    # No norm follows the penultimate layer: with larger weights its states are long enough that
    # the UNet's attention looks at one token only, and a loss jumps between steps.
    small = tiny_text_config(
        tokenizer,
        eos_token_id=tokenizer.eos_token_id if end is None else end,
        pad_token_id=1,
        initializer_factor=3.0,
    )
    big = tiny_text_config(
        tokenizer_2,
        hidden_size=24,
        num_hidden_layers=3,
        projection_dim=20,
        hidden_act="gelu",
        eos_token_id=tokenizer_2.eos_token_id if end is None else end,
        pad_token_id=1,
        initializer_factor=3.0,
    )
    unet = tiny_unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        cross_attention_dim=16 + 24,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=20 + 6 * 8,
    )
    StableDiffusionXLPipeline(
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        text_encoder=CLIPTextModel(small),
        text_encoder_2=CLIPTextModelWithProjection(big),
        unet=unet,
        vae=tiny_vae(0.13025),
        scheduler=EulerDiscreteScheduler(**NOISE),
        force_zeros_for_empty_prompt=zero_null,
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


FAMILY: dict[str, Callable[[Path], Path]] = {
    "sd15": save_tiny_pipeline,
    "sd21": save_tiny_sd21,
    "sd21-v": partial(save_tiny_sd21, prediction="v_prediction"),
    "sdxl": save_tiny_sdxl,
}
"""Every kind of pipeline with a UNet that an adapter serves: how to write one to a folder."""


def drawn(
    base: Backbone,
    prompts: Sequence[str],
    negative: str | None,
    plan: SamplingPlan,
    seeds: Sequence[int],
) -> Tensor:
    """What prism draws: (B, 3, H, W) in [-1, 1]. Without a `negative`, the null prompt is it."""
    cond = base.encode_text([(prompt,) for prompt in prompts], {})
    null = base.encode_text([(negative or "",)] * len(prompts), {})
    steps = base.sample(cond, null, base.initial_noise(plan.size, seeds), plan)
    (z_0,) = deque(steps, maxlen=1)
    return base.decode_latents(z_0)


def pipeline_in(folder: Path) -> Any:
    """diffusers' own pipeline in fp32, of the class that the folder names."""
    pipeline = DiffusionPipeline.from_pretrained(folder).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn_by_diffusers(
    pipeline: Any,
    base: Backbone,
    prompts: Sequence[str],
    negative: str | None,
    plan: SamplingPlan,
    seeds: Sequence[int],
) -> Tensor:
    """What diffusers draws from the same latents, in the same range."""
    pictures: Tensor = pipeline(
        list(prompts),
        negative_prompt=None if negative is None else [negative] * len(prompts),
        latents=base.initial_noise(plan.size, seeds),
        num_inference_steps=plan.steps,
        guidance_scale=plan.guidance,
        height=plan.size[0],
        width=plan.size[1],
        output_type="pt",
    ).images
    return pictures * 2 - 1


def _save_stable_diffusion(
    folder: Path,
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    scheduler: SchedulerMixin,
) -> Path:
    StableDiffusionPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=unet,
        vae=tiny_vae(0.18215),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder
