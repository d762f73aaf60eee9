"""What the method asks of a base."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from prism_cli.backbones.corruption import NoiseLevel, Parameterization


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a prompt where a concept's learned rows stand in for words."""

    concept: str
    part: str = "target"  # or "residual.<i>"


Prompt = tuple[str | Slot, ...]
"""A prompt in pieces: ``("A ", Slot("mydog"), " box")``."""

EncoderRows = Mapping[str, Tensor]
"""Rows in the input-embedding space of each text encoder: encoder name -> (m, d_encoder), fp32."""

Rows = Mapping[Slot, EncoderRows]


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Gamma(c): what the denoiser is conditioned on: named tensors that share their first axis."""

    tensors: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def take(self, index: Sequence[int] | Tensor) -> Conditioning:
        """The conditions at `index`, in that order; an index may repeat."""
        index = torch.as_tensor(index)
        return Conditioning({k: v[index.to(v.device)] for k, v in self.tensors.items()})

    def then(self, other: Conditioning) -> Conditioning:
        """These conditions, followed by `other`'s."""
        return Conditioning({k: torch.cat([v, other.tensors[k]]) for k, v in self.tensors.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan:
    """How pictures are drawn."""

    steps: int
    guidance: float  # classifier-free guidance scale; 1 means no guidance
    size: tuple[int, int]  # height, width in pixels


class Backbone(Protocol):
    """A pretrained text-to-image model. Deterministic in its arguments; chance enters by `rng`.

    B: batch. (c, h, w): the latent's shape. T: the number of training timesteps.
    """

    parameterization: Parameterization
    encoders: tuple[str, ...]  # names of the text encoders whose rows a concept owns
    sampler: str  # what draws, as it is named in a picture's metadata

    def encode_images(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) in [-1, 1] to z_0 (B, c, h, w): the posterior mean, scaled."""
        ...

    def decode_latents(self, z_0: Tensor) -> Tensor:
        """Map z_0 (B, c, h, w) to pictures (B, 3, H, W) in [-1, 1]."""
        ...

    def encode_text(self, prompts: Sequence[Prompt], rows: Rows) -> Conditioning:
        """Gamma(c) of each prompt, differentiable in `rows`.

        Raises PromptRefused when a prompt is longer than the base can read.
        """
        ...

    def word_rows(self, text: str) -> dict[str, Tensor]:
        """The frozen input-embedding rows of `text`: encoder -> (m, d)."""
        ...

    def vocabulary(self) -> dict[str, Tensor]:
        """Every frozen input-embedding row: encoder -> (V, d)."""
        ...

    def text_room(self) -> dict[str, int]:
        """How many vectors a prompt can hold: encoder -> count, special tokens not included."""
        ...

    def release_text_encoders(self) -> None:
        """Let go of what only prompts need: once all are encoded, its memory is free.

        Afterwards nothing that reads text or its vocabulary may be asked.
        """
        ...

    def sample_times(self, n: int, rng: Generator) -> Tensor:
        """Draw t ~ U({1, ..., T}): (n,), in the base's own units."""
        ...

    def spread_times(self, n: int) -> Tensor:
        """Return (n,) times that cover the schedule evenly, for a loss without chance."""
        ...

    def noise_level(self, t: Tensor) -> NoiseLevel:
        """alpha_t and sigma_t at t (B,)."""
        ...

    def predict(self, z_t: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        """The native prediction (eps, v or flow) for z_t (B, c, h, w) at t (B,)."""
        ...

    def initial_noise(self, size: tuple[int, int], seeds: Sequence[int]) -> Tensor:
        """z_T (B, c, h, w) for pictures of (H, W) = `size`: one CPU generator a picture."""
        ...

    def sample(
        self, cond: Conditioning, null: Conditioning, z_T: Tensor, plan: SamplingPlan
    ) -> Iterator[Tensor]:
        """Denoise z_T step by step: yields a latent after each, the last of them z_0.

        Some samplers take more than `plan.steps` evaluations of the model, none takes fewer.
        """
        ...

    def lora_targets(self) -> tuple[str, ...]:
        """The attention layers that take LoRA factors (Algorithm 2, line 2)."""
        ...

    def add_lora(self, rank: int, rng: Generator) -> list[nn.Parameter]:
        """Inject fresh fp32 factors with alpha = rank and return them, in a fixed order."""
        ...

    def without_lora(self) -> AbstractContextManager[None]:
        """While open, the model predicts as if no factors had been injected."""
        ...

    def lora_state(self) -> dict[str, Tensor]:
        """The factors that `add_lora` injected, under diffusers' key names."""
        ...

    def attach_loras(
        self,
        loras: Mapping[str, tuple[Mapping[str, Tensor], float]],
        only_at: Mapping[str, Collection[Slot]] | None = None,
    ) -> None:
        """Make the model draw with these LoRAs in place of those before: name -> (state, weight).

        Their weighted sum, or with `only_at` each only where a token of its slots attends: then
        only prompts that are encoded afterwards may be drawn.
        Raises OptionRefused where a base cannot confine a LoRA, with the reason.
        """
        ...
