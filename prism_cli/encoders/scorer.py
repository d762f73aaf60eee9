"""The practice base's scorer: a small CLIP that reads a picture of its world.

It retrieves: each attribute (noun, style, colour, pattern, size, ground) is answered over its own
list of texts, which `words.json` beside the weights holds. And the first half of an image
embedding holds the drawing alone, whatever is behind it and however large it is. `mini/` in the
source tree has how it was made.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer, VisionTextDualEncoderModel

EMBEDDING = 256
DESIGN = EMBEDDING // 2
SIDE = 64  # px of the pictures it reads
INPUT = 96  # px that they are brought to: the eyes see at a 32nd of it
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of pixels in [0, 1]
PLAIN = "plain"  # the answer for a thing that is neither tinted nor patterned
WORDS = "words.json"

Texts = dict[str, dict[str, str]]
"""attribute -> its words -> the text that is retrieved for each"""


class Scorer(nn.Module):
    """The CLIP with its texts at hand."""

    def __init__(self, clip: VisionTextDualEncoderModel, tokens: CLIPTokenizer, texts: Texts):
        super().__init__()
        self.clip, self.tokens, self.texts = clip, tokens, texts

    @classmethod
    def load(cls, folder: Path) -> Scorer:
        """The scorer saved in `folder`, in fp32, for reading."""
        clip = VisionTextDualEncoderModel.from_pretrained(folder, dtype=torch.float32)
        texts = json.loads((folder / WORDS).read_text("utf-8"))
        return cls(clip, CLIPTokenizer.from_pretrained(folder), texts).eval()

    def save(self, folder: Path) -> None:
        """Write the scorer to `folder`, in fp16."""
        self.clip.half().save_pretrained(folder)
        self.tokens.save_pretrained(folder)
        (folder / WORDS).write_text(json.dumps(self.texts, indent=1) + "\n", "utf-8")

    def see(self, x: Tensor) -> Tensor:
        """Unit embeddings (n, EMBEDDING) of pictures (n, 3, SIDE, SIDE) in [0, 1]."""
        x = functional.interpolate(x, (INPUT, INPUT), mode="bilinear")
        mean, std = (x.new_tensor(value)[:, None, None] for value in (MEAN, STD))
        x = ((x - mean) / std).contiguous(memory_format=torch.channels_last)
        pooled = self.clip.get_image_features(pixel_values=x).pooler_output
        return functional.normalize(pooled.float(), dim=-1)

    def text(self, texts: list[str]) -> Tensor:
        """Unit embeddings (n, EMBEDDING) of texts."""
        ids = self.tokens(texts, padding=True, truncation=True, return_tensors="pt")
        ids = ids.to(self.clip.device)
        return functional.normalize(
            self.clip.get_text_features(**ids).pooler_output.float(), dim=-1
        )

    def logits(self, seen: Tensor) -> dict[str, Tensor]:
        """For each attribute, what each of its words gets: (n, words)."""
        texts = [text for words in self.texts.values() for text in words.values()]
        every = self.clip.logit_scale.exp() * seen @ self.text(texts).T
        sizes = [len(words) for words in self.texts.values()]
        return dict(zip(self.texts, every.split(sizes, dim=-1), strict=True))

    @torch.no_grad()
    def read(self, pictures: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """The logits of each attribute, and the unit designs (n, DESIGN), of uint8 pictures."""
        parts = np.array_split(pictures, max(1, len(pictures) // 256))
        seen = torch.cat([self.see(pixels(part)) for part in parts])
        return self.logits(seen), functional.normalize(seen[:, :DESIGN], dim=-1)


def pixels(pictures: np.ndarray) -> Tensor:
    """(n, SIDE, SIDE, 3) uint8 to (n, 3, SIDE, SIDE) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def half(pictures: np.ndarray, side: str) -> np.ndarray:
    """The left or right half of each picture, its inner edge drawn out to a whole picture.

    What reads one of a pair: pictures (n, SIDE, SIDE, 3).
    """
    middle = SIDE // 2
    if side == "left":
        return np.pad(pictures[:, :, :middle], ((0, 0), (0, 0), (0, middle), (0, 0)), "edge")
    return np.pad(pictures[:, :, middle:], ((0, 0), (0, 0), (middle, 0), (0, 0)), "edge")
