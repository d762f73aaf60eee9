"""Pipelines around a UNet; this adapter serves those with one text encoder: SD 1.5 and SD 2.1."""

from __future__ import annotations

import inspect
import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, SchedulerMixin, UNet2DConditionModel
from torch import Generator, Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from prism_cli.backbones import fitting, lora
from prism_cli.backbones.base import Conditioning, Prompt, Rows, SamplingPlan, Slot
from prism_cli.backbones.catalog import pixels_per_cell
from prism_cli.backbones.clip import Clip
from prism_cli.backbones.confinement import Confinement, confined_to
from prism_cli.backbones.corruption import NoiseLevel, Parameterization
from prism_cli.backbones.loading import loading
from prism_cli.errors import OptionRefused
from prism_cli.runtime import Runtime

# The key other tools use for CLIP-L's rows. Stable Diffusion 2.1's one encoder, CLIP-H, has it too:
# a file for a base of one encoder holds one tensor, which other tools take whatever its name, and
# the width (768 or 1024) tells which of the two encoders it is for.
CLIP_L = "clip_l"
LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")  # of self- and cross-attention, in every block
_PREDICTION = {"epsilon": Parameterization.EPSILON, "v_prediction": Parameterization.V}
_AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}


class UNetBackbone:
    """A `Backbone` over a folder that ``StableDiffusionPipeline.from_pretrained`` also reads."""

    encoders: tuple[str, ...] = (CLIP_L,)

    def __init__(
        self,
        *,
        clips: Sequence[Clip],
        unet: UNet2DConditionModel,
        vae: AutoencoderKL | AutoencoderTiny,
        scheduler: Any,
        runtime: Runtime,
    ) -> None:
        self.parameterization = _PREDICTION[scheduler.config.prediction_type]
        self.scheduler = scheduler
        self.runtime, self.device, self.dtype = runtime, runtime.device, runtime.dtype
        self.clips = [clip.frozen(runtime) for clip in clips]  # in the order of `encoders`
        self.unet = fitting.fitted_denoiser(unet.to(runtime.dtype), runtime)
        self.vae = fitting.fitted_vae(vae, runtime)
        self._confined: Confinement | None = None
        self._alphas_cumprod = scheduler.alphas_cumprod.double()
        self._scale = pixels_per_cell(vae.config)
        self.sampler = type(scheduler).__name__.removesuffix("Scheduler")

    @classmethod
    def load(cls, folder: Path, runtime: Runtime) -> UNetBackbone:
        """Read the five parts that ``model_index.json`` names.

        Raises BaseRefused when a part is missing, damaged or of a class that is not served here.
        """
        with loading("Stable Diffusion", folder):
            clip = Clip.load(CLIP_L, folder / "tokenizer", folder / "text_encoder", CLIPTextModel)
            clip.frozen(runtime)  # out of the RAM, before the next part is read into it
            unet, vae, scheduler = load_denoiser(folder, runtime)
            return cls(clips=[clip], unet=unet, vae=vae, scheduler=scheduler, runtime=runtime)

    @property
    def tokenizer(self) -> CLIPTokenizer:
        """The first text encoder's."""
        return self.clips[0].tokenizer

    @property
    def text_encoder(self) -> Any:
        """The first text encoder."""
        return self.clips[0].encoder

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """See `Backbone.encode_images`."""
        with fitting.at_work(self.vae, self.runtime):
            encoded = self.vae.encode(images.to(self.device, torch.float32))
        tiny = isinstance(self.vae, AutoencoderTiny)
        z_0 = encoded.latents if tiny else encoded.latent_dist.mode()
        scaled: Tensor = z_0 * self.vae.config.scaling_factor
        return scaled

    @torch.no_grad()
    def decode_latents(self, z_0: Tensor) -> Tensor:
        """See `Backbone.decode_latents`."""
        with fitting.at_work(self.vae, self.runtime):
            decoded: Tensor = self.vae.decode(z_0.float() / self.vae.config.scaling_factor).sample
        return decoded.clamp(-1, 1)

    def encode_text(self, prompts: Sequence[Prompt], rows: Rows) -> Conditioning:
        """See `Backbone.encode_text`: the encoder's last hidden states."""
        (clip,) = self.clips
        embeds = clip.read(prompts, rows).last  # (B, L, d)
        return self._with_places({"embeds": embeds.to(self.device, self.dtype)}, prompts, rows)

    def word_rows(self, text: str) -> dict[str, Tensor]:
        """See `Backbone.word_rows`."""
        return {clip.name: clip.word_rows(text) for clip in self.clips}

    def vocabulary(self) -> dict[str, Tensor]:
        """See `Backbone.vocabulary`."""
        return {clip.name: clip.vocabulary() for clip in self.clips}

    def text_room(self) -> dict[str, int]:
        """See `Backbone.text_room`."""
        return {clip.name: clip.text_room() for clip in self.clips}

    def release_text_encoders(self) -> None:
        """See `Backbone.release_text_encoders`."""
        self.clips = []

    def sample_times(self, n: int, rng: Generator) -> Tensor:
        """See `Backbone.sample_times`; the paper's {1, ..., T} is diffusers' {0, ..., T - 1}."""
        return torch.randint(len(self._alphas_cumprod), (n,), generator=rng).to(self.device)

    def spread_times(self, n: int) -> Tensor:
        """See `Backbone.spread_times`: the midpoints of n equal stretches."""
        midpoints = (torch.arange(n) + 0.5) / n * len(self._alphas_cumprod)
        return midpoints.long().to(self.device)

    def noise_level(self, t: Tensor) -> NoiseLevel:
        """See `Backbone.noise_level`."""
        alpha_bar = self._alphas_cumprod[t.cpu()]  # in float64, which not every device has
        alpha, sigma = alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()
        return NoiseLevel(alpha.to(t.device), sigma.to(t.device))

    def predict(self, z_t: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        """See `Backbone.predict`."""
        return fitting.in_micro_batches(self._forward, self.runtime.micro_batch, z_t, t, cond)

    def _forward(self, z_t: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        embeds = cond.tensors["embeds"]
        with confined_to(self._confined, cond, z_t):
            predicted: Tensor = self.unet(
                z_t.to(self.dtype), t, encoder_hidden_states=embeds
            ).sample
        return predicted.float()

    def initial_noise(self, size: tuple[int, int], seeds: Sequence[int]) -> Tensor:
        """See `Backbone.initial_noise`."""
        shape = (self.unet.config.in_channels, size[0] // self._scale, size[1] // self._scale)
        noise = [torch.randn(shape, generator=Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(noise).to(self.device)

    @torch.no_grad()
    def sample(
        self, cond: Conditioning, null: Conditioning, z_T: Tensor, plan: SamplingPlan
    ) -> Iterator[Tensor]:
        """See `Backbone.sample`: the base's own scheduler with classifier-free guidance."""
        scheduler = type(self.scheduler).from_config(self.scheduler.config)  # schedulers keep state
        scheduler.set_timesteps(plan.steps, device=self.device)
        guided = plan.guidance != 1
        both = null.then(cond) if guided else cond
        chance = _chance_of(scheduler, z_T)
        z_t = z_T * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            model_input = scheduler.scale_model_input(torch.cat([z_t, z_t]) if guided else z_t, t)
            prediction = self.predict(model_input, t, both)
            if guided:
                unconditional, conditional = prediction.chunk(2)
                prediction = unconditional + plan.guidance * (conditional - unconditional)
            z_t = scheduler.step(prediction, t, z_t, **chance).prev_sample
            yield z_t

    def lora_targets(self) -> tuple[str, ...]:
        """See `Backbone.lora_targets`."""
        return LORA_TARGETS

    def add_lora(self, rank: int, rng: Generator) -> list[nn.Parameter]:
        """See `Backbone.add_lora`."""
        factors = lora.inject(self.unet, rank, self.lora_targets(), rng)
        fitting.compile_blocks(self.unet, self.runtime)
        return factors

    def without_lora(self) -> AbstractContextManager[None]:
        """See `Backbone.without_lora`."""
        return lora.left_out(self.unet)

    def lora_state(self) -> dict[str, Tensor]:
        """See `Backbone.lora_state`."""
        return lora.extract(self.unet)

    def attach_loras(
        self,
        loras: Mapping[str, tuple[Mapping[str, Tensor], float]],
        only_at: Mapping[str, Collection[Slot]] | None = None,
    ) -> None:
        """See `Backbone.attach_loras`."""
        if self._confined is not None:
            self._confined.release()
            self._confined = None
        lora.attach(self.unet, loras, self.lora_targets())
        if only_at is not None:
            if self.runtime.compiled:
                raise OptionRefused(
                    "compiled blocks cannot confine a LoRA to its token", hint="leave out --compile"
                )
            self._confined = Confinement(self.unet, [only_at[name] for name in loras])
        fitting.compile_blocks(self.unet, self.runtime)

    def _with_places(
        self, tensors: dict[str, Tensor], prompts: Sequence[Prompt], rows: Rows
    ) -> Conditioning:
        """The condition, and where each confined LoRA's tokens stand in it, if any is confined."""
        if self._confined is None:
            return Conditioning(tensors)
        layouts = [[clip.lay_out(prompt, rows) for prompt in prompts] for clip in self.clips]
        return Conditioning({**tensors, "places": self._confined.places(layouts).to(self.device)})


def load_denoiser(
    folder: Path, runtime: Runtime
) -> tuple[UNet2DConditionModel, AutoencoderKL | AutoencoderTiny, SchedulerMixin]:
    """The UNet, and the autoencoder and scheduler of the classes ``model_index.json`` names."""
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    autoencoder = _AUTOENCODERS[index["vae"][1]]
    schedulers = getattr(diffusers, index["scheduler"][1])
    if not issubclass(schedulers, SchedulerMixin):
        raise TypeError(f"{schedulers.__name__} is not a scheduler")
    return (
        UNet2DConditionModel.from_pretrained(
            folder / "unet", local_files_only=True, use_safetensors=True, dtype=runtime.dtype
        ),
        autoencoder.from_pretrained(folder / "vae", local_files_only=True, use_safetensors=True),
        schedulers.from_pretrained(folder / "scheduler", local_files_only=True),
    )


def _chance_of(scheduler: Any, z_T: Tensor) -> dict[str, list[Generator]]:
    """What an ancestral scheduler's noise comes from: a generator a picture, seeded by its z_T.

    Left alone it would draw from the global one, and a picture could not be drawn again.
    """
    if "generator" not in inspect.signature(scheduler.step).parameters:
        return {}
    seeds = [zlib.crc32(noise.numpy().tobytes()) for noise in z_T.cpu()]
    return {"generator": [Generator().manual_seed(seed) for seed in seeds]}
