"""Pipelines in FLUX.1's format, a few thousand weights each, of the real classes."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SchedulerMixin,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tests.tiny_pipeline import CONTEXT, WORDS, tiny_tokenizer

SIZE = 16  # pixels; the latent is 8x8, and 16 tokens
CHANNELS = 4  # of the latent
CLIP_WIDTH, T5_WIDTH = 16, 24  # unequal, so that one cannot stand in for the other
SHIFT, SCALE = 0.1159, 0.3611  # FLUX.1's latents
SCHEDULE = {  # FLUX.1-dev's
    "shift": 3.0,
    "use_dynamic_shifting": True,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
}


def tiny_t5_tokenizer() -> T5TokenizerFast:
    """A T5 tokenizer that knows `WORDS` whole, and any other in letters."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(letter, -3.0) for letter in string.ascii_lowercase]
    words = [(f"▁{word}", -1.0) for word in WORDS]
    return T5TokenizerFast(vocab=[*special, *letters, *words], extra_ids=0, model_max_length=512)


def save_tiny_flux(
    folder: Path,
    *,
    guidance_embeds: bool = True,
    legacy_end: bool = False,
    scheduler: SchedulerMixin | None = None,
    seed: int = 0,
) -> Path:
    """Write a pipeline of random weights to `folder`, with the sampler of FLUX.1-dev.

    guidance_embeds: as dev has them and schnell has not. legacy_end: the CLIP config names the
    end-of-text token 2, as those of before transformers' correction do.
    """
    torch.manual_seed(seed)
    tokenizer, tokenizer_2 = tiny_tokenizer(), tiny_t5_tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=CLIP_WIDTH,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=2 if legacy_end else tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_factor=10.0,
        )
    )
    text_encoder_2 = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer_2) + 3,  # T5's matrix has more rows than its tokenizer words
            d_model=T5_WIDTH,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            tie_word_embeddings=False,  # as T5 1.1 says, whose file holds one matrix
        )
    )
    transformer = FluxTransformer2DModel(
        in_channels=4 * CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=CLIP_WIDTH,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=SCALE,
        shift_factor=SHIFT,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    FluxPipeline(
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        transformer=transformer,
        vae=vae,
        scheduler=scheduler or FlowMatchEulerDiscreteScheduler(**SCHEDULE),
    ).save_pretrained(folder)
    return folder
