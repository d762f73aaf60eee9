"""What a picture shows: asked of the practice base's scorer, or of CLIP where it is here.

Only of the practice base's world is the truth known; CLIP has an opinion of photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from prism_cli.backbones.catalog import BaseEntry
from prism_cli.backbones.loading import loading
from prism_cli.encoders.clip import ClipEncoder
from prism_cli.encoders.drawn import small
from prism_cli.encoders.scorer import Scorer, half, pixels
from prism_cli.method.evaluation import likeness, likeness_among
from prism_cli.services.encoder_files import (
    CLIP,
    INSTALL_AGAIN,
    PULL_AGAIN,
    encoder_folder,
    missing_encoders,
)

NO_JUDGE = (
    "there is no judge of this base's pictures: the practice base has one, and CLIP is one where "
    "it is downloaded, which `prism eval NAME --yes` does"
)


class Judge(Protocol):
    """Compares pictures with a concept's, and tells whether they show a noun."""

    @property
    def name(self) -> str:
        """Who it is."""
        ...

    def likeness(
        self, pictures: Sequence[Image.Image], references: Sequence[Image.Image], kind: str
    ) -> float:
        """How like the references they are, as a concept of this kind is: 1 is the same."""
        ...

    def presence(self, pictures: Sequence[Image.Image], noun: str) -> float:
        """How probable it is that one of them shows `noun`, in [0, 1]."""
        ...


def judged(base_id: str) -> bool:
    """Whether anybody on this machine can judge a base's pictures, be the base here or not."""
    return base_id == "mini" or CLIP not in missing_encoders()


def judge_of(entry: BaseEntry) -> Judge | None:
    """Who can judge a base's pictures on this machine; None where nobody can."""
    if entry.practice:
        return PracticeJudge.of(entry)
    if not judged(entry.id):
        return None
    folder = encoder_folder(CLIP)
    with loading("CLIP", folder, PULL_AGAIN):
        return ClipJudge(ClipEncoder.load(CLIP.name, folder, torch.device("cpu")))


@dataclass(frozen=True, slots=True)
class PracticeJudge:
    """Reads pictures of the practice base's world."""

    scorer: Scorer
    name: str = "the practice base's scorer"

    @classmethod
    def of(cls, entry: BaseEntry) -> PracticeJudge:
        """The judge that lies beside the practice base."""
        folder = entry.folder / "scorer"
        with loading("practice", folder, INSTALL_AGAIN):
            return cls(Scorer.load(folder))

    def designs(self, pictures: Sequence[Image.Image], side: str | None = None) -> Tensor:
        """(n, DESIGN) units: what is drawn, whatever is behind it; `side` is a half of a pair."""
        return self.scorer.read(_arrays(pictures, side))[1]

    def styles(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(n, styles): how probable each of the world's styles is."""
        return self.scorer.read(_arrays(pictures, None))[0]["style"].softmax(-1)

    def likeness(
        self, pictures: Sequence[Image.Image], references: Sequence[Image.Image], kind: str
    ) -> float:
        """See `Judge.likeness`: of designs, or of a style's reading."""
        if kind == "style":
            return agreement(self.styles(pictures), self.styles(references))
        return likeness(self.designs(pictures), self.designs(references))

    def presence(self, pictures: Sequence[Image.Image], noun: str) -> float:
        """See `Judge.presence`: among the world's nouns and this one."""
        texts = self.scorer.texts["noun"]
        asked = [*texts.values()] + ([] if noun in texts else [f"a {noun}"])
        with torch.no_grad():
            seen = self.scorer.see(pixels(_arrays(pictures, None)))
            every = self.scorer.clip.logit_scale.exp() * seen @ self.scorer.text(asked).T
        index = list(texts).index(noun) if noun in texts else -1
        return float(every.softmax(-1)[:, index].mean())


@dataclass(frozen=True, slots=True)
class ClipJudge:
    """CLIP's opinion of photographs."""

    encoder: ClipEncoder

    @property
    def name(self) -> str:
        """Who it is."""
        return self.encoder.name

    def likeness(
        self, pictures: Sequence[Image.Image], references: Sequence[Image.Image], kind: str
    ) -> float:
        """See `Judge.likeness`: CLIP-I, the mean cosine, for every kind."""
        return likeness(self.encoder.see(pictures), self.encoder.see(references))

    def presence(self, pictures: Sequence[Image.Image], noun: str) -> float:
        """See `Judge.presence`: "a photo of a noun" against "a photo"."""
        read = self.encoder.read([f"a photo of a {noun}", "a photo"])
        logits = self.encoder.scale * self.encoder.see(pictures) @ read.T
        return float(logits.softmax(-1)[:, 0].mean())


def own_likeness(designs: Tensor) -> float:
    """Mean cosine of designs (n, d) with each other, none with itself; 1 of a single one."""
    among = likeness_among(designs)
    return 1.0 if among is None else among


def agreement(some: Tensor, others: Tensor) -> float:
    """The share that two mean distributions (n, k) and (m, k) have in common."""
    return float(torch.minimum(some.mean(0), others.mean(0)).sum())


def _arrays(pictures: Sequence[Image.Image], side: str | None) -> np.ndarray:
    stacked = small(pictures)
    return stacked if side is None else half(stacked, side)
