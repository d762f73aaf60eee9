"""Pipelines in Stable Diffusion's format, a few thousand weights each, of the real classes."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    PNDMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WORDS = ("a", "dog", "cat", "on", "red", "with", "box", "photo", "snow", "at", "night")
CONTEXT = 16  # tokens that the text encoder reads
SIZE = 16  # pixels; the latent is 8x8
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
NOISE = {  # Stable Diffusion's
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


def tiny_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that knows `WORDS` whole, and any other in letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        left, *rest = [*word[:-1], f"{word[-1]}</w>"]
        while rest:
            right, *rest = rest
            merges.append((left, right))
            left += right
            pieces.append(left)
    vocabulary = {piece: k for k, piece in enumerate(dict.fromkeys([*pieces, BEGIN, END]))}
    return CLIPTokenizer(
        vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=CONTEXT
    )


def save_tiny_pipeline(
    folder: Path, scheduler: SchedulerMixin | None = None, seed: int = 0
) -> Path:
    """Write a pipeline of random weights to `folder`: eps and PNDM, as Stable Diffusion 1.5's.

    Its weights are larger than at the start of a training, so that a prompt and a step matter.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_factor=10.0,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=SIZE // 2,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=0.18215,
    )
    StableDiffusionPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=unet,
        vae=vae,
        scheduler=scheduler or PNDMScheduler(skip_prk_steps=True, **NOISE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder
