"""The scorer: a small CLIP that reads a picture of the world by retrieval over the world's words.

It is CLIP in all but its eyes, which are MobileNetV2's and begin as ImageNet trained them. From
nothing, in fifteen minutes on two cores, a vision transformer of CLIP's own came to 31 % of the
nouns and a convolutional net to 39 %.

Two conventions are its own: each attribute (noun, style, colour, ...) is answered over its own list
of texts, and the first half of an image embedding holds the drawing alone, whatever is behind it
and however large it is.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    MobileNetV2Model,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from mini.vocabulary import (
    COLOURS,
    GROUND_COLOURS,
    NOUNS,
    PATTERNS,
    SCENES,
    SIZES,
    STYLES,
    TEXTURES,
)
from mini.world import SIDE, Ground, Picture, article

EMBEDDING = 256
DESIGN = EMBEDDING // 2
INPUT = 96  # px that pictures are brought to: the eyes see at a 32nd of it
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of pixels in [0, 1]
PLAIN = "plain"  # neither tinted nor patterned


def _grounds() -> dict[str, Ground]:
    """Every background there is, by its words."""
    pairs = itertools.permutations(GROUND_COLOURS, 2)
    grounds = [Ground(colour=colour) for colour in GROUND_COLOURS]
    grounds += [Ground(colour=c, texture=t) for t in TEXTURES for c in GROUND_COLOURS]
    grounds += [Ground(colour=colour, into=into) for colour, into in pairs]
    grounds += [Ground(scene=scene) for scene in SCENES]
    return {ground.words(): ground for ground in grounds}


GROUNDS = _grounds()
TEXTS: dict[str, dict[str, str]] = {  # attribute -> its words -> the text that is retrieved
    "noun": {noun.word: article(noun.word) for noun in NOUNS},
    "style": {style: f"a {style} drawing" for style in STYLES},
    "colour": {PLAIN: "something painted", **{word: f"something {word}" for word in COLOURS}},
    "pattern": {PLAIN: "nothing on it", **{word: f"something {word}" for word in PATTERNS}},
    "size": {word: f"something {word}" for word in SIZES},
    "ground": {words: words for words in GROUNDS},
}  # fmt: skip

_INDEX = {name: {word: k for k, word in enumerate(words)} for name, words in TEXTS.items()}


def labels(picture: Picture) -> dict[str, int]:
    """The index of the right word of each attribute; -100 where there is no right one."""
    thing = picture.thing
    if thing is None:
        raise ValueError("a picture of nothing has no labels")
    words = {
        "noun": thing.noun,
        "style": thing.set if thing.pattern is None else "",
        "colour": thing.colour or (PLAIN if thing.pattern is None else ""),
        "pattern": thing.pattern or PLAIN,
        "size": picture.size,
        "ground": picture.ground.words(),
    }
    return {name: _INDEX[name].get(word, -100) for name, word in words.items()}


def untrained(eyes: MobileNetV2Model, tokens: CLIPTokenizer) -> VisionTextDualEncoderModel:
    """The net: `eyes` to see, and two new layers of CLIP's text encoder to read."""
    text = CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=128, intermediate_size=384, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=tokens.model_max_length,
        bos_token_id=tokens.bos_token_id, eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )  # fmt: skip
    config = VisionTextDualEncoderConfig(
        vision_config=eyes.config.to_dict(), text_config=text.to_dict(), projection_dim=EMBEDDING
    )
    return VisionTextDualEncoderModel(config, eyes, CLIPTextModel(text))


class Scorer(nn.Module):
    """The CLIP with its texts at hand."""

    def __init__(self, clip: VisionTextDualEncoderModel, tokens: CLIPTokenizer) -> None:
        super().__init__()
        self.clip, self.tokens = clip, tokens

    @classmethod
    def load(cls, folder: Path) -> Scorer:
        """The scorer saved in `folder`, in fp32."""
        clip = VisionTextDualEncoderModel.from_pretrained(folder, dtype=torch.float32)
        return cls(clip, CLIPTokenizer.from_pretrained(folder)).eval()

    def see(self, x: Tensor) -> Tensor:
        """Unit embeddings (n, EMBEDDING) of pictures (n, 3, 64, 64) in [0, 1]."""
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
        texts = [text for words in TEXTS.values() for text in words.values()]
        every = self.clip.logit_scale.exp() * seen @ self.text(texts).T
        sizes = [len(words) for words in TEXTS.values()]
        return dict(zip(TEXTS, every.split(sizes, dim=-1), strict=True))

    @torch.no_grad()
    def read(self, pictures: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """The logits of each attribute, and the unit designs (n, DESIGN), of uint8 pictures."""
        seen = torch.cat([self.see(pixels(part)) for part in _parts(pictures)])
        return self.logits(seen), functional.normalize(seen[:, :DESIGN], dim=-1)


def _parts(pictures: np.ndarray) -> list[np.ndarray]:
    return np.array_split(pictures, max(1, len(pictures) // 256))


def pixels(pictures: np.ndarray) -> Tensor:
    """(n, 64, 64, 3) uint8 to (n, 3, 64, 64) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def half(pictures: np.ndarray, side: str) -> np.ndarray:
    """The left or right half of each picture, its inner edge drawn out to a whole picture.

    What reads one of a pair: pictures (n, 64, 64, 3).
    """
    middle = SIDE // 2
    if side == "left":
        return np.pad(pictures[:, :, :middle], ((0, 0), (0, 0), (0, middle), (0, 0)), "edge")
    return np.pad(pictures[:, :, middle:], ((0, 0), (0, 0), (middle, 0), (0, 0)), "edge")
