"""The adapter for FLUX.1 pipelines: T5 and CLIP-L, a flow-matching transformer, autoencoder.

Time is sigma itself, t in (0, 1]: z_t = (1 - t) z_0 + t eps. Latents are (B, 16, h, w) everywhere;
the transformer's packed tokens are seen in this module only.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from torch import Generator, Tensor, nn
from transformers import CLIPTextModel, T5EncoderModel, T5TokenizerFast

from prism_cli.backbones import fitting, lora, splice
from prism_cli.backbones.base import Conditioning, Prompt, Rows, SamplingPlan, Slot
from prism_cli.backbones.catalog import pixels_per_cell
from prism_cli.backbones.clip import Clip
from prism_cli.backbones.corruption import NoiseLevel, Parameterization
from prism_cli.backbones.families import MIXED
from prism_cli.backbones.loading import loading
from prism_cli.errors import OptionRefused
from prism_cli.runtime import Runtime

CLIP_L, T5_XXL = "clip_l", "t5"  # the keys diffusers' training scripts keep embeddings under

# Tokens that T5 reads, the end token included. The model takes 512, nearly all of it padding for
# a prompt of ordinary length; 77 is what diffusers' QLoRA recipe for FLUX.1-dev trains with.
T5_LENGTH = 77

# The dev model is distilled from a guided one and takes the scale as an input. 1 stands for the
# unguided velocity, which is what z_0 and eps define; the QLoRA recipe trains there too.
TRAINING_GUIDANCE = 1.0

# The attention projections of both kinds of block, for pictures and for text. The recipes of
# diffusers also adapt the feed-forward layers, which is 11.2 M parameters at rank 4; this is 6.5 M.
LORA_TARGETS = (
    "attn.to_q",
    "attn.to_k",
    "attn.to_v",
    "attn.to_out.0",
    "attn.add_q_proj",
    "attn.add_k_proj",
    "attn.add_v_proj",
    "attn.to_add_out",
)

_CLASSES = {
    "text_encoder": CLIPTextModel,
    "text_encoder_2": T5EncoderModel,
    "transformer": FluxTransformer2DModel,
    "vae": AutoencoderKL,
    "scheduler": FlowMatchEulerDiscreteScheduler,
}


@dataclass(frozen=True, slots=True)
class T5:
    """T5's encoder with its tokenizer: no begin token, an end token, and padding that is read."""

    tokenizer: T5TokenizerFast
    encoder: T5EncoderModel

    @classmethod
    def load(cls, folder: Path, runtime: Runtime) -> T5:
        """Read both from the pipeline in `folder`; what the libraries raise comes through.

        The encoder in fp32 unless memory is short, as the gradient of the learned rows runs through
        it; quantized with the transformer, unless it stays on the CPU.
        """
        encoder, settings = folder / "text_encoder_2", dict[str, Any]()
        if runtime.text_device in (None, runtime.device):
            encoder, settings = fitting.weights(
                folder, "text_encoder_2", runtime, transformers.BitsAndBytesConfig
            )
        return cls(
            T5TokenizerFast.from_pretrained(folder / "tokenizer_2", local_files_only=True),
            T5EncoderModel.from_pretrained(
                encoder,
                local_files_only=True,
                use_safetensors=True,
                dtype=runtime.text_dtype,
                **settings,
            ),
        )

    def frozen(self, runtime: Runtime) -> T5:
        """Itself, where text is read; read in its precision, which quantized weights keep."""
        self.encoder.to(runtime.text_device or runtime.device).eval().requires_grad_(False)
        return self

    def read(self, prompts: Sequence[Prompt], rows: Rows) -> Tensor:
        """The states of B prompts, (B, T5_LENGTH, d), differentiable in `rows`.

        Without a mask: FLUX was trained on the states of the padding as well.
        Raises PromptRefused when a prompt is longer than `text_room`.
        """
        layouts = [self._lay_out(prompt, rows) for prompt in prompts]
        ids = splice.input_ids(layouts, filler=self.tokenizer.pad_token_id).to(self.encoder.device)
        # T5EncoderModel's `get_input_embeddings` has the same weights and is not what is called.
        with splice.rows_spliced(self.encoder.encoder.embed_tokens, layouts, rows, T5_XXL):
            states: Tensor = self.encoder(ids).last_hidden_state
        return states

    def _lay_out(self, prompt: Prompt, rows: Rows) -> splice.Layout:
        """Content, end and padding."""
        room = self.text_room()
        content = splice.words_and_rows(self.tokenizer, prompt, rows, T5_XXL, room)
        pads = [self.tokenizer.pad_token_id] * (room - len(content))
        return [*content, self.tokenizer.eos_token_id, *pads]

    def word_rows(self, text: str) -> Tensor:
        """The frozen input-embedding rows of `text`: (m, d)."""
        return self.vocabulary()[splice.word_ids(self.tokenizer, text)].clone()

    def vocabulary(self) -> Tensor:
        """Every frozen input-embedding row: (V, d)."""
        weight: Tensor = self.encoder.get_input_embeddings().weight.detach()
        return weight

    def text_room(self) -> int:
        """How many vectors a prompt can hold, the end token not included."""
        return T5_LENGTH - 1


class FluxBackbone:
    """A `Backbone` over a folder that ``FluxPipeline.from_pretrained`` also reads."""

    encoders = (CLIP_L, T5_XXL)
    parameterization = Parameterization.FLOW

    def __init__(
        self,
        *,
        clip: Clip,
        t5: T5,
        transformer: FluxTransformer2DModel,
        vae: AutoencoderKL,
        scheduler: FlowMatchEulerDiscreteScheduler,
        runtime: Runtime,
    ) -> None:
        self.scheduler = scheduler
        self.runtime, self.device, self.dtype = runtime, runtime.device, runtime.dtype
        self.clip, self.t5 = clip.frozen(runtime), t5.frozen(runtime)
        self.transformer = fitting.fitted_denoiser(transformer, runtime)
        self.vae = fitting.fitted_vae(vae, runtime)
        self._scale = pixels_per_cell(vae.config)
        self.sampler = type(scheduler).__name__.removesuffix("Scheduler")

    @classmethod
    def load(cls, folder: Path, runtime: Runtime) -> FluxBackbone:
        """Read the seven parts that ``model_index.json`` names.

        Raises BaseRefused when a part is missing, damaged or of a kind that is not served here.
        """
        with loading("FLUX", folder):
            index = json.loads((folder / "model_index.json").read_text("utf-8"))
            for part, kind in _CLASSES.items():
                if index[part][1] != kind.__name__:
                    raise TypeError(f"its {part} is a {index[part][1]}, not a {kind.__name__}")
            scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(
                folder / "scheduler", local_files_only=True
            )
            if scheduler.config.stochastic_sampling:
                raise ValueError("its scheduler draws noise that no seed decides")
            vae = AutoencoderKL.from_pretrained(
                folder / "vae", local_files_only=True, use_safetensors=True
            )
            if vae.config.shift_factor is None:
                raise ValueError("its autoencoder has no shift_factor")
            clip = Clip.load(CLIP_L, folder / "tokenizer", folder / "text_encoder", CLIPTextModel)
            t5 = T5.load(folder, runtime)
            t5.frozen(runtime)  # out of the RAM, before the transformer is read into it
            return cls(
                clip=clip,
                t5=t5,
                transformer=_load_transformer(folder, runtime),
                vae=vae,
                scheduler=scheduler,
                runtime=runtime,
            )

    @classmethod
    def keep_quantized(cls, folder: Path, runtime: Runtime, place: Path) -> None:
        """Write what `load` would quantize of `folder` to `place`, as it is after that.

        One after the other, so that the device holds one of the two.
        Raises BaseRefused when a part is missing or damaged.
        """
        with loading("FLUX", folder):
            model = T5.load(folder, runtime).encoder
        model.save_pretrained(place / "text_encoder_2")
        del model
        with loading("FLUX", folder):
            model = _load_transformer(folder, runtime)
        model.save_pretrained(place / "transformer")

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """See `Backbone.encode_images`: shifted as well as scaled."""
        config = self.vae.config
        with fitting.at_work(self.vae, self.runtime):
            mean = self.vae.encode(images.to(self.device, torch.float32)).latent_dist.mode()
        z_0: Tensor = (mean - config.shift_factor) * config.scaling_factor
        return z_0

    @torch.no_grad()
    def decode_latents(self, z_0: Tensor) -> Tensor:
        """See `Backbone.decode_latents`."""
        config = self.vae.config
        mean = z_0.float() / config.scaling_factor + config.shift_factor
        with fitting.at_work(self.vae, self.runtime):
            decoded: Tensor = self.vae.decode(mean).sample
        return decoded.clamp(-1, 1)

    def encode_text(self, prompts: Sequence[Prompt], rows: Rows) -> Conditioning:
        """See `Backbone.encode_text`: T5's states, and CLIP's state at the end-of-text token."""
        states, pooled = self.t5.read(prompts, rows), self.clip.read(prompts, rows).end
        both = {"t5": states, "pooled": pooled}
        return Conditioning({k: v.to(self.device, self.dtype) for k, v in both.items()})

    def word_rows(self, text: str) -> dict[str, Tensor]:
        """See `Backbone.word_rows`."""
        return {CLIP_L: self.clip.word_rows(text), T5_XXL: self.t5.word_rows(text)}

    def vocabulary(self) -> dict[str, Tensor]:
        """See `Backbone.vocabulary`."""
        return {CLIP_L: self.clip.vocabulary(), T5_XXL: self.t5.vocabulary()}

    def text_room(self) -> dict[str, int]:
        """See `Backbone.text_room`."""
        return {CLIP_L: self.clip.text_room(), T5_XXL: self.t5.text_room()}

    def release_text_encoders(self) -> None:
        """See `Backbone.release_text_encoders`."""
        del self.clip, self.t5

    def sample_times(self, n: int, rng: Generator) -> Tensor:
        """See `Backbone.sample_times`; here t ~ U(0, 1], fp32."""
        return (1 - torch.rand(n, generator=rng)).to(self.device)

    def spread_times(self, n: int) -> Tensor:
        """See `Backbone.spread_times`: the midpoints of n equal stretches."""
        return ((torch.arange(n) + 0.5) / n).to(self.device)

    def noise_level(self, t: Tensor) -> NoiseLevel:
        """See `Backbone.noise_level`: the straight line from z_0 to eps."""
        return NoiseLevel(1 - t, t)

    def predict(self, z_t: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        """See `Backbone.predict`: the velocity eps - z_0, unguided."""
        return self._velocity(z_t, t, cond, TRAINING_GUIDANCE)

    def _velocity(self, z_t: Tensor, t: Tensor, cond: Conditioning, guidance: float) -> Tensor:
        forward = partial(self._forward, guidance=guidance)
        return fitting.in_micro_batches(forward, self.runtime.micro_batch, z_t, t, cond)

    def _forward(self, z_t: Tensor, t: Tensor, cond: Conditioning, guidance: float) -> Tensor:
        """The transformer on z_t (B, c, h, w) at t (B,): (B, c, h, w), fp32.

        A model without a guidance input (schnell) is called without.
        """
        (B, _, h, w), text = z_t.shape, cond.tensors["t5"]
        guided = self.transformer.config.guidance_embeds
        tokens = self.transformer(
            hidden_states=pack(z_t).to(self.dtype),
            timestep=t,  # the model itself multiplies by 1000, guidance too
            guidance=torch.full((B,), guidance, device=self.device) if guided else None,
            encoder_hidden_states=text,
            pooled_projections=cond.tensors["pooled"],
            img_ids=image_ids(h // 2, w // 2).to(self.device),
            txt_ids=torch.zeros(text.shape[1], 3, device=self.device),  # text has no place
        ).sample
        return unpack(tokens, h // 2, w // 2).float()

    def initial_noise(self, size: tuple[int, int], seeds: Sequence[int]) -> Tensor:
        """See `Backbone.initial_noise`."""
        channels = self.transformer.config.in_channels // 4
        shape = (channels, size[0] // self._scale, size[1] // self._scale)
        noise = [torch.randn(shape, generator=Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(noise).to(self.device)

    @torch.no_grad()
    def sample(
        self, cond: Conditioning, null: Conditioning, z_T: Tensor, plan: SamplingPlan
    ) -> Iterator[Tensor]:
        """See `Backbone.sample`: Euler steps on times that are shifted by the picture's size.

        `plan.guidance` is an input of the distilled model and one forward a step is enough, so
        `null` is not used. A model without that input (schnell) knows no guidance.
        """
        scheduler = type(self.scheduler).from_config(self.scheduler.config)  # schedulers keep state
        scheduler.set_timesteps(
            sigmas=[k / plan.steps for k in range(plan.steps, 0, -1)],
            mu=time_shift(scheduler.config, z_T.shape[-2] * z_T.shape[-1] // 4),
            device=self.device,
        )
        scheduler.set_begin_index(0)
        z_t = z_T
        for t in scheduler.timesteps:  # t is sigma in thousandths
            velocity = self._velocity(z_t, (t / 1000).expand(len(z_t)), cond, plan.guidance)
            z_t = scheduler.step(velocity, t, z_t).prev_sample
            yield z_t

    def lora_targets(self) -> tuple[str, ...]:
        """See `Backbone.lora_targets`."""
        return LORA_TARGETS

    def add_lora(self, rank: int, rng: Generator) -> list[nn.Parameter]:
        """See `Backbone.add_lora`."""
        factors = lora.inject(self.transformer, rank, self.lora_targets(), rng)
        fitting.compile_blocks(self.transformer, self.runtime)
        return factors

    def without_lora(self) -> AbstractContextManager[None]:
        """See `Backbone.without_lora`."""
        return lora.left_out(self.transformer)

    def lora_state(self) -> dict[str, Tensor]:
        """See `Backbone.lora_state`."""
        return lora.extract(self.transformer, lora.TRANSFORMER)

    def attach_loras(
        self,
        loras: Mapping[str, tuple[Mapping[str, Tensor], float]],
        only_at: Mapping[str, Collection[Slot]] | None = None,
    ) -> None:
        """See `Backbone.attach_loras`; a LoRA cannot be confined here (`families.MIXED`)."""
        if only_at is not None:
            raise OptionRefused(
                f"FLUX.1 cannot confine a LoRA to its token: {MIXED}", hint="use --method sum"
            )
        lora.attach(self.transformer, loras, self.lora_targets(), lora.TRANSFORMER)
        fitting.compile_blocks(self.transformer, self.runtime)


def _load_transformer(folder: Path, runtime: Runtime) -> FluxTransformer2DModel:
    place, settings = fitting.weights(folder, "transformer", runtime, diffusers.BitsAndBytesConfig)
    return FluxTransformer2DModel.from_pretrained(
        place, local_files_only=True, use_safetensors=True, dtype=runtime.dtype, **settings
    )


def time_shift(config: Any, tokens: int) -> float:
    """mu for a picture of so many tokens: linear in them, through a scheduler's two points.

    The more tokens, the more of the times are noisy ones (Esser et al. 2024, section 5.3.2).
    """
    slope = (config.max_shift - config.base_shift) / (
        config.max_image_seq_len - config.base_image_seq_len
    )
    mu: float = config.base_shift + slope * (tokens - config.base_image_seq_len)
    return mu


def pack(z: Tensor) -> Tensor:
    """Each 2x2 cells of (B, c, 2h, 2w) become a token: (B, h w, 4c), rows of the picture first."""
    return nn.functional.pixel_unshuffle(z, 2).flatten(2).transpose(1, 2)


def unpack(tokens: Tensor, h: int, w: int) -> Tensor:
    """The latent (B, c, 2h, 2w) whose tokens (B, h w, 4c) these are."""
    return nn.functional.pixel_shuffle(tokens.transpose(1, 2).reshape(len(tokens), -1, h, w), 2)


def image_ids(h: int, w: int) -> Tensor:
    """(0, row, column) of each token, for the rotary embedding: (h w, 3)."""
    return torch.cartesian_prod(torch.zeros(1), torch.arange(h).float(), torch.arange(w).float())
