"""A BLIP of real classes and few random weights, in the files that the Hub's repository has."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
)

WORDS = (
    *("a", "red", "dog", "cat", "sits", "on", "the", "green", "lawn", "snow", "at", "night"),
    *("with", "box", "and", "under", "soft", "light"),
)


def save_tiny_blip(folder: Path) -> Path:
    """Write one to `folder`."""
    folder.mkdir(parents=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
    vocabulary = {word: k for k, word in enumerate([*special, *WORDS])}
    tokenizer = BertTokenizer(vocab=vocabulary, additional_special_tokens=["[DEC]", "[ENC]"])
    shared = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    config = BlipConfig(
        text_config={
            **shared,
            "encoder_hidden_size": 16,
            "num_hidden_layers": 2,
            "vocab_size": len(vocabulary),
            "projection_dim": 16,
            "max_position_embeddings": 64,
            "bos_token_id": vocabulary["[DEC]"],
            "eos_token_id": vocabulary["[SEP]"],
            "sep_token_id": vocabulary["[SEP]"],
            "pad_token_id": 0,
        },
        vision_config={**shared, "num_hidden_layers": 2, "image_size": 32, "patch_size": 16},
        projection_dim=16,
        image_text_hidden_size=16,
    )
    torch.manual_seed(0)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
