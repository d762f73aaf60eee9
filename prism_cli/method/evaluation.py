"""The scores of an evaluation, of embeddings alone: nothing here draws, sees or reads.

CLIP-T, CLIP-I and DINO as DreamBooth defines them (section 4.1): cosines, and means over all pairs.
What the pictures' surroundings leak is ours: docs/method.md, "Evaluation".
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of every pair: (n, d) and (m, d) to (n, m), in fp64."""
    return functional.normalize(a.double(), dim=-1) @ functional.normalize(b.double(), dim=-1).T


def alignment(pictures: Tensor, texts: Tensor) -> Tensor:
    """How well each picture goes with its own prompt (CLIP-T): (P, K, d) and (P, d) to (P, K).

    P prompts, K pictures of each.
    """
    seen = functional.normalize(pictures.double(), dim=-1)
    read = functional.normalize(texts.double(), dim=-1)
    return (seen * read[:, None]).sum(-1)


def likeness(pictures: Tensor, references: Tensor) -> float:
    """The mean cosine over all pairs of a picture and a reference (CLIP-I, DINO)."""
    return cosines(pictures.flatten(0, -2), references).mean().item()


def likeness_among(pictures: Tensor) -> float | None:
    """The mean cosine over all pairs of different pictures (n, d); None for fewer than two."""
    return likeness_apart(pictures, pictures) if len(pictures) > 1 else None


def likeness_apart(pictures: Tensor, others: Tensor) -> float:
    """The mean cosine over all pairs (n, d) and (n, d) but those of one place, n at least 2.

    Of pictures that were drawn from the same n seeds: what one noise makes alike does not count.
    """
    n, every = len(pictures), cosines(pictures, others)
    return ((every.sum() - every.trace()) / (n * (n - 1))).item()


def residual_gap(residuals: Tensor, others: Tensor, concept: Tensor) -> float:
    """How much of the concept is in what residuals draw alone, above what is there without them.

    The mean cosine of residual pictures (N, d) to the concept's own (m, d), less that of pictures
    without any prompt, `others` (k, d), which the same LoRA draws. 0 where a residual holds nothing
    of the concept.
    """
    return likeness(residuals, concept) - likeness(others, concept)
