"""A base small enough to solve by hand, and a wrapper that remembers what a base was asked.

The toy reads a prompt as the plain sum of its rows and predicts that sum, whatever the noise: one
row is one 4x4 latent. "with" is the zero row, so that the prediction of "target with residual i" is
exactly target + residual_i, and that of the null prompt is zero.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from prism_cli.backbones.base import Backbone, Conditioning, Prompt, Rows, SamplingPlan, Slot
from prism_cli.backbones.corruption import NoiseLevel, Parameterization
from prism_cli.errors import OptionRefused

ENCODER = "toy"
WORDS = ("with", "a", "photo", "red", "dog", "box")
SHAPE = (1, 4, 4)
CELLS = 16  # of a latent, and the width of a row


class ToyBackbone:
    """A linear v model on 4x4 latents.

    alphas: alpha_t for each of its T times, with sigma_t^2 = 1 - alpha_t^2. By default there is one
    time, pure noise, where the target of a v model is -z_0 exactly and a loss has no chance in it.
    """

    parameterization = Parameterization.V
    encoders: tuple[str, ...] = (ENCODER,)
    sampler = "Toy"

    def __init__(self, alphas: Sequence[float] = (0.0,)) -> None:
        self._alphas = torch.tensor(alphas)
        rows = torch.randn(len(WORDS), CELLS, generator=Generator().manual_seed(1))
        rows[WORDS.index("with")] = 0
        self._vocabulary = rows
        self._factors: list[nn.Parameter] = []  # of the low-rank map B A that is added to z_t
        self._attached = torch.zeros(CELLS, CELLS)

    def encode_images(self, images: Tensor) -> Tensor:
        """Average each picture's colours over a grid of 4x4."""
        grey = images.mean(1, keepdim=True)
        return nn.functional.adaptive_avg_pool2d(grey, SHAPE[1:])

    def decode_latents(self, z_0: Tensor) -> Tensor:
        """One grey pixel a cell."""
        return z_0.expand(-1, 3, -1, -1).clamp(-1, 1)

    def encode_text(self, prompts: Sequence[Prompt], rows: Rows) -> Conditioning:
        """Add up the rows of each prompt."""
        sums = []
        for prompt in prompts:
            parts = [
                rows[piece][ENCODER] if isinstance(piece, Slot) else self.word_rows(piece)[ENCODER]
                for piece in prompt
            ]
            sums.append(torch.cat(parts).sum(0))
        return Conditioning({"sum": torch.stack(sums)})

    def word_rows(self, text: str) -> dict[str, Tensor]:
        """The rows of the words; only those of `WORDS` are known."""
        return {ENCODER: self._vocabulary[[WORDS.index(word) for word in text.split()]]}

    def vocabulary(self) -> dict[str, Tensor]:
        """Every word's row."""
        return {ENCODER: self._vocabulary}

    def text_room(self) -> dict[str, int]:
        """Eight words."""
        return {ENCODER: 8}

    def release_text_encoders(self) -> None:
        """It has none."""

    def sample_times(self, n: int, rng: Generator) -> Tensor:
        """Any of its times."""
        return torch.randint(len(self._alphas), (n,), generator=rng)

    def spread_times(self, n: int) -> Tensor:
        """Its times in turn."""
        return torch.arange(n) % len(self._alphas)

    def noise_level(self, t: Tensor) -> NoiseLevel:
        """See `alphas`."""
        alpha = self._alphas[t]
        return NoiseLevel(alpha, (1 - alpha.square()).sqrt())

    def predict(self, z_t: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        """The sum of the rows, plus what the low-rank factors make of z_t."""
        flat = z_t.flatten(1)  # (B, 16)
        predicted = cond.tensors["sum"] + flat @ self._attached.T
        if self._factors:
            A, B = self._factors
            predicted = predicted + flat @ A.T @ B.T
        return predicted.view(-1, *SHAPE)

    def initial_noise(self, size: tuple[int, int], seeds: Sequence[int]) -> Tensor:
        """One generator a picture."""
        return torch.stack(
            [torch.randn(SHAPE, generator=Generator().manual_seed(s)) for s in seeds]
        )

    def sample(
        self, cond: Conditioning, null: Conditioning, z_T: Tensor, plan: SamplingPlan
    ) -> Iterator[Tensor]:
        """-v is z_0 at pure noise; a step goes an equal part of the way."""
        for step in range(1, plan.steps + 1):
            yield z_T + step / plan.steps * (-self.predict(z_T, torch.zeros(1), cond) - z_T)

    def lora_targets(self) -> tuple[str, ...]:
        """Its one layer."""
        return ("denoiser",)

    def add_lora(self, rank: int, rng: Generator) -> list[nn.Parameter]:
        """A (r, 16) at random, B (16, r) zero."""
        A = nn.Parameter(torch.randn(rank, CELLS, generator=rng) / rank)
        self._factors = [A, nn.Parameter(torch.zeros(CELLS, rank))]
        return self._factors

    @contextmanager
    def without_lora(self) -> Iterator[None]:
        """The map alone."""
        factors, self._factors = self._factors, []
        try:
            yield
        finally:
            self._factors = factors

    def lora_state(self) -> dict[str, Tensor]:
        """The two factors."""
        names = ("unet.denoiser.lora_A.weight", "unet.denoiser.lora_B.weight")
        return {name: f.detach() for name, f in zip(names, self._factors, strict=True)}

    def attach_loras(
        self,
        loras: Mapping[str, tuple[Mapping[str, Tensor], float]],
        only_at: Mapping[str, Collection[Slot]] | None = None,
    ) -> None:
        """Add the weighted products to the map; a sum of rows has no token of its own."""
        if only_at is not None:
            raise OptionRefused("the toy does not attend")
        self._attached = torch.zeros(CELLS, CELLS)
        for state, weight in loras.values():
            A, B = (state[f"unet.denoiser.lora_{factor}.weight"] for factor in "AB")
            self._attached = self._attached + weight * B @ A


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one `predict`, and whether gradients were being recorded."""

    z_t: Tensor
    t: Tensor
    cond: Conditioning
    with_gradient: bool


@dataclass(slots=True)
class RecordingBackbone:
    """Any backbone, with every call of `predict` kept in `calls`."""

    inner: Backbone
    calls: list[Call] = field(default_factory=list)

    def predict(self, z_t: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        """Remember the arguments and pass them on."""
        self.calls.append(Call(z_t.detach().clone(), t.clone(), cond, torch.is_grad_enabled()))
        return self.inner.predict(z_t, t, cond)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def recording(inner: Backbone) -> tuple[Backbone, list[Call]]:
    """`inner` in a recorder, and the list that its calls of `predict` go to."""
    recorder = RecordingBackbone(inner)
    return cast(Backbone, recorder), recorder.calls


def toy(alphas: Sequence[float] = (0.0,)) -> Backbone:
    """A toy, as what it is to the method."""
    return ToyBackbone(alphas)
