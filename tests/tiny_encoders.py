"""CLIP and DINO of a few thousand weights, saved as the published ones are."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from tests.tiny_pipeline import tiny_text_config, tiny_tokenizer

SIDE = 32  # px that the tiny ones see


def save_tiny_clip(folder: Path) -> Path:
    """A CLIP with its tokenizer, in the published form (vocabulary and merges) too."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        initializer_factor=10.0,
    )
    text = tiny_text_config(tokenizer)
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=12
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tokenizer._tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    size = {"shortest_edge": SIDE}
    CLIPImageProcessorPil(size=size, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(
        folder
    )
    return folder


def save_tiny_dino(folder: Path) -> Path:
    """A vision transformer with DINO's preprocessing."""
    torch.manual_seed(1)
    config = ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        initializer_range=0.5,
    )
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)
    return folder
