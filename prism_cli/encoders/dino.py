"""DINO: a vision transformer that was trained without a word, so that it sees instances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import ViTImageProcessorPil, ViTModel

from prism_cli.encoders.base import parts


class DinoEncoder:
    """A DINO with its own preprocessing; its embedding is the [CLS] token after the last norm.

    That is what DINO's authors call the output of the network, and what DreamBooth compares.
    """

    def __init__(self, name: str, model: ViTModel, pixels: ViTImageProcessorPil) -> None:
        self.name, self.model, self.pixels = name, model, pixels

    @classmethod
    def load(cls, name: str, folder: Path, device: torch.device) -> DinoEncoder:
        """The DINO in `folder`, in fp32, for reading."""
        local = {"local_files_only": True}
        model = ViTModel.from_pretrained(
            folder, dtype=torch.float32, add_pooling_layer=False, **local
        )
        pixels = ViTImageProcessorPil.from_pretrained(folder, **local)
        return cls(name, model.to(device).eval(), pixels)

    @torch.no_grad()
    def see(self, pictures: Sequence[Image.Image]) -> Tensor:
        """See `ImageEncoder.see`."""
        seen = []
        for part in parts(pictures):
            x = self.pixels(list(pictures[part]), return_tensors="pt")["pixel_values"]
            seen.append(self.model(x.to(self.model.device)).last_hidden_state[:, 0].cpu())
        return functional.normalize(torch.cat(seen), dim=-1)
