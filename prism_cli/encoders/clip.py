"""CLIP: pictures and texts in one space (CLIP-T and CLIP-I)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from prism_cli.encoders.base import parts


class ClipEncoder:
    """A CLIP with its own preprocessing: the short side to 224 px, the centre, its normalization.

    Embeddings are those after the projections, as CLIP compares them.
    """

    def __init__(
        self, name: str, model: CLIPModel, pixels: CLIPImageProcessorPil, words: CLIPTokenizer
    ) -> None:
        self.name, self.model, self.pixels, self.words = name, model, pixels, words

    @classmethod
    def load(cls, name: str, folder: Path, device: torch.device) -> ClipEncoder:
        """The CLIP in `folder`, in fp32, for reading."""
        local = {"local_files_only": True}
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, **local)
        return cls(
            name,
            model.to(device).eval(),
            CLIPImageProcessorPil.from_pretrained(folder, **local),
            CLIPTokenizer.from_pretrained(folder, **local),
        )

    @property
    def scale(self) -> float:
        """What CLIP multiplies cosines by, for the softmax over texts."""
        return float(self.model.logit_scale.detach().exp())

    @torch.no_grad()
    def see(self, pictures: Sequence[Image.Image]) -> Tensor:
        """See `ImageEncoder.see`."""
        seen = []
        for part in parts(pictures):
            x = self.pixels([p.convert("RGB") for p in pictures[part]], return_tensors="pt")[
                "pixel_values"
            ]
            seen.append(self.model.get_image_features(x.to(self.model.device)).pooler_output.cpu())
        return functional.normalize(torch.cat(seen), dim=-1)

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Tensor:
        """See `TextImageEncoder.read`."""
        found = []
        room = self.model.config.text_config.max_position_embeddings
        for part in parts(texts):
            ids = self.words(
                list(texts[part]),
                padding="max_length",
                max_length=room,
                truncation=True,
                return_tensors="pt",
            ).to(self.model.device)
            found.append(self.model.get_text_features(**ids).pooler_output.cpu())
        return functional.normalize(torch.cat(found), dim=-1)
