"""CLIP and DINO as prism asks them, against transformers' own forward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer, ViTImageProcessorPil, ViTModel

import prism_cli
from prism_cli.encoders.clip import ClipEncoder
from prism_cli.encoders.dino import DinoEncoder
from prism_cli.encoders.drawn import DrawnEncoder
from prism_cli.encoders.scorer import DESIGN, Scorer, pixels
from tests.tiny_encoders import save_tiny_clip, save_tiny_dino

CPU = torch.device("cpu")
FP32_NET = 1e-5  # two layers, sixteen wide; a batch of another size adds up in another order
TEXTS = ["a photo", "a red dog on snow at night with a cat in a box and more than it can read"]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """More than one batch of them, none square."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (40 + k % 3, 50, 3), dtype=np.uint8))
        for k in range(35)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


def test_clip_is_transformers_own_forward(folder: Path, pictures: list[Image.Image]) -> None:
    """Both embeddings are those that CLIPModel compares, from CLIPProcessor's own pixels."""
    place = save_tiny_clip(folder / "clip")
    ours = ClipEncoder.load("tiny", place, CPU)
    model = CLIPModel.from_pretrained(place).eval()
    process = CLIPProcessor(ours.pixels, CLIPTokenizer.from_pretrained(place))
    inputs = process(
        text=TEXTS, images=pictures, padding=True, truncation=True, return_tensors="pt"
    )

    with torch.no_grad():
        theirs = model(**inputs)

    torch.testing.assert_close(ours.see(pictures), theirs.image_embeds, atol=FP32_NET, rtol=0)
    torch.testing.assert_close(ours.read(TEXTS), theirs.text_embeds, atol=FP32_NET, rtol=0)
    cosines = ours.read(TEXTS) @ ours.see(pictures).T * model.logit_scale.exp()
    torch.testing.assert_close(cosines, theirs.logits_per_text, atol=1e-3, rtol=0)


def test_dino_is_the_normed_first_token(folder: Path, pictures: list[Image.Image]) -> None:
    """The embedding is the [CLS] token of ViTModel's last hidden state, at unit length."""
    place = save_tiny_dino(folder / "dino")
    model = ViTModel.from_pretrained(place).eval()
    x = ViTImageProcessorPil.from_pretrained(place)(pictures, return_tensors="pt")

    with torch.no_grad():
        first = model(**x).last_hidden_state[:, 0]

    ours = DinoEncoder.load("tiny", place, CPU).see(pictures)
    torch.testing.assert_close(ours, first / first.norm(dim=1, keepdim=True), atol=FP32_NET, rtol=0)


def test_the_scorers_parts(pictures: list[Image.Image]) -> None:
    """The whole is what the scorer sees; the halves are its halves, each at unit length."""
    place = Path(prism_cli.__file__).parent / "bases" / "mini" / "scorer"
    scorer, parts = Scorer.load(place), DrawnEncoder.load(place)
    small = [picture.resize((64, 64)) for picture in pictures[:3]]
    with torch.no_grad():
        seen = scorer.see(pixels(np.stack([np.asarray(picture) for picture in small])))
        read = scorer.text(["a dog"])

    whole, design, setting = (part.see(small) for part in parts)

    torch.testing.assert_close(whole, seen, atol=FP32_NET, rtol=0)
    for part, half in ((design, seen[:, :DESIGN]), (setting, seen[:, DESIGN:])):
        torch.testing.assert_close(part, half / half.norm(dim=1, keepdim=True), atol=1e-5, rtol=0)
    torch.testing.assert_close(parts[0].read(["a dog"]), read, atol=FP32_NET, rtol=0)
