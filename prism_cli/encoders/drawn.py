"""The practice base's scorer as an encoder: whole, its design half, or its other half."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from prism_cli.encoders.base import parts
from prism_cli.encoders.scorer import DESIGN, SIDE, Scorer, pixels


class DrawnEncoder:
    """The part of the scorer's embedding that answers one question.

    `whole` is compared with texts. `design` holds the drawing alone, whatever is behind it and
    however large it is; `setting` holds the rest, hence what is behind it.
    """

    def __init__(self, name: str, scorer: Scorer, part: slice) -> None:
        self.name, self.scorer, self.part = name, scorer, part

    @classmethod
    def load(cls, folder: Path) -> tuple[DrawnEncoder, DrawnEncoder, DrawnEncoder]:
        """The scorer in `folder`: whole, design, setting."""
        scorer = Scorer.load(folder)
        return (
            cls("mini's scorer", scorer, slice(None)),
            cls("mini's scorer, design half", scorer, slice(0, DESIGN)),
            cls("mini's scorer, other half", scorer, slice(DESIGN, None)),
        )

    @torch.no_grad()
    def see(self, pictures: Sequence[Image.Image]) -> Tensor:
        """See `ImageEncoder.see`."""
        seen = [self.scorer.see(pixels(small(pictures[part]))) for part in parts(pictures)]
        return functional.normalize(torch.cat(seen)[:, self.part], dim=-1)

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Tensor:
        """See `TextImageEncoder.read`."""
        found = self.scorer.text(list(texts))[:, self.part]
        return functional.normalize(found, dim=-1)


def small(pictures: Sequence[Image.Image]) -> np.ndarray:
    """The pictures at the side that the scorer reads: (n, SIDE, SIDE, 3) uint8."""
    size = (SIDE, SIDE)
    return np.stack(
        [np.asarray(p.convert("RGB").resize(size, Image.Resampling.LANCZOS)) for p in pictures]
    )
