"""The published bases as far as their config.json files go: full size, and not a weight."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# What unet/config.json of each published base says, but for what are the class's own defaults.
STABLE_DIFFUSION_UNET = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*3 * ("CrossAttnDownBlock2D",), "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *3 * ("CrossAttnUpBlock2D",)),
    "layers_per_block": 2,
}
SD15_UNET = {**STABLE_DIFFUSION_UNET, "attention_head_dim": 8, "cross_attention_dim": 768}
SD21_UNET = {
    **STABLE_DIFFUSION_UNET,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
SDXL_UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", *2 * ("CrossAttnDownBlock2D",)),
    "up_block_types": (*2 * ("CrossAttnUpBlock2D",), "UpBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
# Likewise text_encoder/config.json and text_encoder_2/config.json.
CLIP_L_TEXT = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
CLIP_H_TEXT = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
}
CLIP_BIGG_TEXT = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
# The transformer of black-forest-labs/FLUX.1-dev, as its config.json has it.
FLUX_1_DEV = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}
# What text_encoder_2/config.json of FLUX.1-dev says: the encoder of T5 1.1 XXL.
T5_XXL_TEXT = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "vocab_size": 32128,
    "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": False,
    "tie_word_embeddings": False,
}
AUTOENCODER = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": 4 * ("DownEncoderBlock2D",),
    "up_block_types": 4 * ("UpDecoderBlock2D",),
    "layers_per_block": 2,
    "norm_num_groups": 32,
}
_CLIP_L = {"text_encoder": ("transformers", "CLIPTextModel", CLIP_L_TEXT)}
_VAE = ("diffusers", "AutoencoderKL", {**AUTOENCODER, "latent_channels": 4})

PARTS: dict[str, dict[str, tuple[str, str, dict[str, Any]]]] = {
    "sd15": {**_CLIP_L, "unet": ("diffusers", "UNet2DConditionModel", SD15_UNET), "vae": _VAE},
    "sd21": {
        "text_encoder": ("transformers", "CLIPTextModel", CLIP_H_TEXT),
        "unet": ("diffusers", "UNet2DConditionModel", SD21_UNET),
        "vae": _VAE,
    },
    "sdxl": {
        **_CLIP_L,
        "text_encoder_2": ("transformers", "CLIPTextModelWithProjection", CLIP_BIGG_TEXT),
        "unet": ("diffusers", "UNet2DConditionModel", SDXL_UNET),
        "vae": _VAE,
    },
    "flux": {
        **_CLIP_L,
        "text_encoder_2": ("transformers", "T5EncoderModel", T5_XXL_TEXT),
        "transformer": ("diffusers", "FluxTransformer2DModel", FLUX_1_DEV),
        "vae": (
            "diffusers",
            "AutoencoderKL",
            {
                **AUTOENCODER,
                "latent_channels": 16,
                "use_quant_conv": False,
                "use_post_quant_conv": False,
            },
        ),
    },
}
SIZES = {"sd15": 512, "sd21": 512, "sdxl": 1024, "flux": 512}  # px


def save_configs(kind: str, folder: Path) -> Path:
    """Write model_index.json and each part's config.json."""
    for part, (_, _, config) in PARTS[kind].items():
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(config), "utf-8")
    index = {part: [library, kind_] for part, (library, kind_, _) in PARTS[kind].items()}
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")
    return folder
