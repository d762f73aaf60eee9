"""t_target and t_residual^(i): the rows that are learned (Algorithm 1, lines 1-2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from prism_cli.backbones.base import Backbone, EncoderRows, Prompt, Rows
from prism_cli.errors import OptionRefused
from prism_cli.method.conditions import (
    TEMPLATE,
    joining_words,
    residual_slot,
    target_slot,
    with_residual,
)

SHORTEST_RESIDUAL = 8  # rows; the shortest caption of supplement §10 has 8 words


@dataclass(frozen=True, slots=True)
class ConceptTokens:
    """One target and N residuals, each a row matrix per text encoder.

    target: encoder -> (n, d). residuals[i]: encoder -> (m_i, d). All fp32. Every matrix is a
    parameter of its own, so that the optimizer touches exactly what line 15 names.
    template: how they stand in a prompt, see `conditions.with_residual`.
    """

    concept: str
    target: EncoderRows
    residuals: tuple[EncoderRows, ...]
    template: str = TEMPLATE

    def rows(self) -> Rows:
        """The rows under the slots that stand for them in a prompt."""
        slots = {residual_slot(self.concept, i): rows for i, rows in enumerate(self.residuals)}
        return {target_slot(self.concept): self.target, **slots}

    def parameters(self) -> Iterator[Tensor]:
        """Every matrix, in a fixed order."""
        for rows in (self.target, *self.residuals):
            yield from rows.values()

    def detached(self) -> ConceptTokens:
        """A copy of the values on the CPU, without gradients."""
        copies = [_each(rows, lambda r: r.detach().cpu().clone()) for rows in self._all()]
        return replace(self, target=copies[0], residuals=tuple(copies[1:]))

    def trainable(self) -> ConceptTokens:
        """A copy whose matrices are fp32 parameters."""
        copies = [
            _each(rows, lambda r: nn.Parameter(r.detach().float().clone())) for rows in self._all()
        ]
        return replace(self, target=copies[0], residuals=tuple(copies[1:]))

    def together(self, i: int) -> Prompt:
        """c^(i): the target with photo i's residual."""
        return with_residual(self.concept, i, self.template)

    def _all(self) -> tuple[EncoderRows, ...]:
        return (self.target, *self.residuals)


def init_tokens(
    backbone: Backbone,
    concept: str,
    captions: Sequence[str],
    *,
    length: int,
    word: str | None,
    residual_length: int | None,
    rng: Generator,
    template: str = TEMPLATE,
) -> ConceptTokens:
    """Lines 1-2: the target at random (or as `word`), each residual as its caption's rows.

    The residual starts as the caption's own *input* embeddings, so that step 0 is the captioned
    prompt; a caption longer than a prompt holds beside the target loses its end (`residual_room`
    tells where). With `residual_length` m it is pooled to m rows; without, a caption of under
    `SHORTEST_RESIDUAL` rows is stretched to that many, or it could not hold what a photo has.
    """
    target = {
        encoder: _word_rows(backbone, encoder, word, length)
        if word
        else random_rows(vocabulary, length, rng)
        for encoder, vocabulary in backbone.vocabulary().items()
    }
    rooms = {encoder: residual_room(backbone, encoder, length, template) for encoder in target}
    residuals = tuple(
        {
            encoder: _residual(rows, residual_length, rooms[encoder])
            for encoder, rows in backbone.word_rows(caption).items()
        }
        for caption in captions
    )
    return ConceptTokens(concept, target, residuals, template).trainable()


def random_rows(vocabulary: Tensor, n: int, rng: Generator) -> Tensor:
    """Draw (n, d) from the per-dimension mean and standard deviation of the vocabulary (V, d)."""
    std, mean = torch.std_mean(vocabulary.float(), dim=0)
    return mean + std * torch.randn(n, len(mean), generator=rng).to(mean)


def residual_room(backbone: Backbone, encoder: str, length: int, template: str = TEMPLATE) -> int:
    """How many rows a residual may have beside a target of `length` rows and the joining words."""
    joining = sum(len(backbone.word_rows(words)[encoder]) for words in joining_words(template))
    return backbone.text_room()[encoder] - length - joining


def pool_rows(rows: Tensor, m: int) -> Tensor:
    """Pool (k, d) to (m, d): means over m consecutive stretches, at the norm of a single word.

    A mean of k unrelated rows is about sqrt(k) too short, and the encoder has never seen such rows.
    """
    pooled: Tensor = nn.functional.adaptive_avg_pool1d(rows.T[None].float(), m)[0].T
    usual = rows.float().norm(dim=1).mean()
    scale: Tensor = usual / pooled.norm(dim=1, keepdim=True).clamp_min(1e-8)
    return (pooled * scale).contiguous()  # rows in order, as a file has them


def _residual(words: Tensor, m: int | None, room: int) -> Tensor:
    """The start of one residual: (m, d), or as many rows as the caption has, within `room`."""
    if m is not None and m > room:
        raise OptionRefused(
            f"a residual of {m} rows does not fit: {room} fit beside the target",
            hint=f"use --residual-length {room} or less",
        )
    rows = words[:room]
    if m is None and len(rows) >= SHORTEST_RESIDUAL:
        return rows
    return pool_rows(rows, m or min(SHORTEST_RESIDUAL, room))


def _word_rows(backbone: Backbone, encoder: str, word: str, length: int) -> Tensor:
    rows = backbone.word_rows(word)[encoder]
    if not len(rows):
        raise OptionRefused(
            f"the class {word!r} has no words in it", hint="for example --class dog"
        )
    return pool_rows(rows, length)


def _each(rows: EncoderRows, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {encoder: change(matrix) for encoder, matrix in rows.items()}
