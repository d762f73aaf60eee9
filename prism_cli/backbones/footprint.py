"""What a base takes, from its config.json files alone: parameters, activations and work.

The real classes are built on the meta device, whose tensors have shapes and no values, and run
there under a meter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, FluxTransformer2DModel, UNet2DConditionModel
from torch import Generator, Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from prism_cli.backbones import flux, lora, unet
from prism_cli.backbones.catalog import loaded_files, pixels_per_cell
from prism_cli.backbones.hub_cache import mended_by
from prism_cli.backbones.meter import Cost, measure
from prism_cli.errors import BaseRefused, first_line
from prism_cli.runtime import Quantization

Precision = Literal["fp32", "bf16", "int8", "nf4"]
Training = Literal["nothing", "tokens", "lora"]  # what a pass through the denoiser trains

META = torch.device("meta")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_DIFFUSERS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (UNet2DConditionModel, FluxTransformer2DModel, AutoencoderKL, AutoencoderTiny)
}
_TRANSFORMERS: dict[str, tuple[Any, Any]] = {
    "CLIPTextModel": (CLIPTextModel, CLIPTextConfig),
    "CLIPTextModelWithProjection": (CLIPTextModelWithProjection, CLIPTextConfig),
    "T5EncoderModel": (T5EncoderModel, T5Config),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A model of a pipeline, by its folder's name.

    parameters: all of them. linear: those in the matrices that bitsandbytes replaces, which have
    `rows` outputs together; largest: in the largest of these matrices.
    """

    name: str
    parameters: int
    linear: int
    rows: int
    largest: int

    def bytes(self, precision: Precision) -> int:
        """What the weights take.

        int8: a byte a weight and an fp32 scale for each output of a matrix (LLM.int8). nf4: half a
        byte a weight and an fp32 absmax for each block of 64, 0.5 + 4 / 64 = 0.5625 bytes;
        bitsandbytes can quantize the scales again, and prism does not ask it to. What is no matrix
        stays in bf16.
        """
        if precision in DTYPES:
            return self.parameters * DTYPES[precision].itemsize
        rest = 2 * (self.parameters - self.linear)
        if precision == "int8":
            return rest + self.linear + 4 * self.rows
        return rest + math.ceil(self.linear * (0.5 + 4 / 64))


class Footprint:
    """What the pipeline in a folder takes. Nothing is measured before it is asked for."""

    def __init__(self, folder: Path, copies: Iterable[str] = ()) -> None:
        """Read which parts there are. copies: the kinds in which quantized weights are kept.

        Raises BaseRefused when a config is missing or of a class that is not served.
        """
        diffusers.logging.set_verbosity_error()
        self.folder, self.copies = folder, frozenset(copies)
        try:
            index = json.loads((folder / "model_index.json").read_text("utf-8"))
            self._kinds = {
                name: kind[1]
                for name, kind in index.items()
                if isinstance(kind, list) and kind[1] in _DIFFUSERS | _TRANSFORMERS
            }
            self._configs = {
                name: json.loads((folder / name / "config.json").read_text("utf-8"))
                for name in self._kinds
            }
            self.denoiser = next(n for n in ("unet", "transformer") if n in self._kinds)
            self.texts = tuple(n for n in self._kinds if n.startswith("text_encoder"))
            self.cell = pixels_per_cell(self._configs["vae"])
        except (OSError, ValueError, KeyError, StopIteration) as error:
            raise BaseRefused(
                f"{folder} does not say what its parts are made of ({error})",
                hint=mended_by(self.folder),
            ) from error
        kept = self._configs[self.denoiser].get("quantization_config", {})
        self.kept: Quantization | None = (  # how its weights are kept on disk
            None
            if not kept
            else Quantization.NF4
            if kept.get("load_in_4bit")
            else Quantization.INT8
        )

    @property
    def quantizable(self) -> bool:
        """Whether its adapter quantizes it: of a UNet the convolutions would stay as they are."""
        return self.denoiser == "transformer"

    @property
    def quantized_texts(self) -> tuple[str, ...]:
        """The text encoders that are quantized with it: T5."""
        return tuple(name for name in self.texts if self._kinds[name] == "T5EncoderModel")

    @property
    def passes(self) -> int:
        """Samples that a step of a guided picture takes: FLUX has the guidance as an input."""
        return 1 if self.denoiser == "transformer" else 2

    @property
    def prompt_size(self) -> int:
        """Numbers in the rows of a prompt that is full, over all text encoders."""
        return sum(
            self._length(n) * (self._configs[n].get("hidden_size") or self._configs[n]["d_model"])
            for n in self.texts
        )

    @cached_property
    def parts(self) -> Mapping[str, Part]:
        """Every model, counted."""
        return {name: _counted(name, self.build(name)) for name in self._kinds}

    def build(self, name: str) -> Any:
        """The model `name` on the meta device, in evaluation mode, frozen."""
        kind = self._kinds[name]
        config = {k: v for k, v in self._configs[name].items() if k != "quantization_config"}
        try:
            with META:
                if kind in _DIFFUSERS:
                    model = _DIFFUSERS[kind].from_config(config)
                else:
                    of, configured = _TRANSFORMERS[kind]
                    model = of(configured.from_dict(config))
        except Exception as error:  # the libraries raise whatever they met
            reason = first_line(error)
            raise BaseRefused(
                f"{self.folder} has a {name} that cannot be built: {reason}",
                hint=mended_by(self.folder),
            ) from error
        return model.eval().requires_grad_(False)

    @cache  # noqa: B019  (a footprint lives as long as its command)
    def denoise(
        self,
        size: tuple[int, int],
        precision: Precision,
        training: Training,
        *,
        checkpointing: bool = False,
        rank: int = 4,
        fused: bool = True,
    ) -> Cost:
        """One sample of (height, width) = `size` px through the denoiser."""
        dtype = DTYPES[precision]
        model = self.build(self.denoiser).to(dtype)
        if training == "lora":
            targets = flux.LORA_TARGETS if self.quantizable else unet.LORA_TARGETS
            lora.inject(model, rank, targets, Generator())
        inputs = self._inputs(model, size, dtype, learned=training == "tokens")
        cost = measure(
            model,
            lambda: model(**inputs).sample,
            gradient=training != "nothing",
            checkpointing=checkpointing,
            fused=fused,
        )
        return replace(cost, inputs=sum(given.nbytes for given in _tensors(inputs)))

    @cache  # noqa: B019
    def read(self, name: str, precision: Precision, *, gradient: bool, fused: bool = True) -> Cost:
        """One prompt through the text encoder `name`."""
        model = self.build(name).to(DTYPES[precision])
        ids = torch.empty(1, self._length(name), dtype=torch.long, device=META)

        def rows(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            return output.requires_grad_(gradient)  # the learned ones among them

        inner = model.encoder if hasattr(model, "encoder") else model
        embedding = (
            inner.embed_tokens if hasattr(inner, "embed_tokens") else model.get_input_embeddings()
        )
        embedding.register_forward_hook(rows)
        return measure(model, lambda: model(ids).last_hidden_state, gradient=gradient, fused=fused)

    @cache  # noqa: B019
    def encode(self, size: tuple[int, int], *, fused: bool = True) -> Cost:
        """One picture through the autoencoder's first half, in fp32."""
        vae = self.build("vae")
        picture = torch.empty(1, 3, *size, device=META)
        return measure(vae, lambda: _tensor(vae.encode(picture)), gradient=False, fused=fused)

    @cache  # noqa: B019
    def decode(self, size: tuple[int, int], *, fused: bool = True) -> Cost:
        """One picture through its second half, in fp32."""
        vae = self.build("vae")
        z_0 = torch.empty(1, vae.config.latent_channels, *self._cells(size), device=META)
        return measure(vae, lambda: vae.decode(z_0).sample, gradient=False, fused=fused)

    def size_multiple(self) -> int:
        """A picture's height and width must be multiples of so many pixels."""
        if self.denoiser == "transformer":
            return self.cell * 2  # a token is 2x2 cells
        levels = len(self.build(self.denoiser).config.block_out_channels)
        return int(self.cell * 2 ** (levels - 1))

    def disk_bytes(self) -> int:
        """What the files that it is loaded from take."""
        return sum(path.stat().st_size for path in loaded_files(self.folder))

    def _cells(self, size: tuple[int, int]) -> tuple[int, int]:
        return size[0] // self.cell, size[1] // self.cell

    def _length(self, name: str) -> int:
        # T5's positions are relative, and it has no longest prompt.
        return int(self._configs[name].get("max_position_embeddings") or flux.T5_LENGTH)

    def _inputs(
        self, model: Any, size: tuple[int, int], dtype: torch.dtype, *, learned: bool
    ) -> dict[str, Any]:
        """What the adapters call the denoiser with, for one sample; learned: with a gradient."""
        (h, w), config = self._cells(size), model.config
        empty = partial(torch.empty, dtype=dtype, device=META)
        times = torch.empty(1, device=META)
        if self.quantizable:
            text = flux.T5_LENGTH
            return {
                "hidden_states": empty(1, h * w // 4, config.in_channels),
                "timestep": times,
                "guidance": times if config.guidance_embeds else None,
                "encoder_hidden_states": empty(1, text, config.joint_attention_dim).requires_grad_(
                    learned
                ),
                "pooled_projections": empty(1, config.pooled_projection_dim).requires_grad_(
                    learned
                ),
                "img_ids": torch.empty(h * w // 4, 3, device=META),
                "txt_ids": torch.empty(text, 3, device=META),
            }
        text = max(self._length(name) for name in self.texts)
        inputs: dict[str, Any] = {
            "sample": empty(1, config.in_channels, h, w),
            "timestep": times.long(),
            "encoder_hidden_states": empty(1, text, config.cross_attention_dim).requires_grad_(
                learned
            ),
        }
        if config.addition_embed_type == "text_time":
            ids = 6  # SDXL's: two sizes and a corner
            pooled = config.projection_class_embeddings_input_dim - (
                ids * config.addition_time_embed_dim
            )
            inputs["added_cond_kwargs"] = {
                "text_embeds": empty(1, pooled).requires_grad_(learned),
                "time_ids": torch.empty(1, ids, device=META),
            }
        return inputs


def _tensors(inputs: Mapping[str, Any]) -> Iterator[Tensor]:
    for value in inputs.values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            yield from _tensors(value)


def _counted(name: str, model: nn.Module) -> Part:
    # transformers leaves these out of the quantization: of T5, the "wo" that overflows in fp16.
    whole = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    matrices = [
        module.weight
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and not whole & set(path.split("."))
    ]
    return Part(
        name=name,
        parameters=sum(weight.numel() for weight in model.parameters()),
        linear=sum(weight.numel() for weight in matrices),
        rows=sum(len(weight) for weight in matrices),
        largest=max((weight.numel() for weight in matrices), default=0),
    )


def _tensor(encoded: Any) -> Tensor:
    """What an autoencoder of either kind encodes to."""
    latents: Tensor = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
    return latents
