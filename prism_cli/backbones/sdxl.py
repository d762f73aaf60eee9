"""The adapter for Stable Diffusion XL: two text encoders, a pooled prompt and the picture's size.

What SDXL adds to a UNet pipeline is in Podell et al. 2023, "SDXL: Improving Latent Diffusion Models
for High-Resolution Image Synthesis", sections 2.1 (the two encoders) and 2.2 (size and crop).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from prism_cli.backbones.base import Conditioning, Prompt, Rows
from prism_cli.backbones.clip import Clip
from prism_cli.backbones.confinement import confined_to
from prism_cli.backbones.loading import loading
from prism_cli.backbones.unet import CLIP_L, UNetBackbone, load_denoiser
from prism_cli.runtime import Runtime

CLIP_G = "clip_g"  # the key other tools use for the rows of OpenCLIP's ViT-bigG


class SDXLBackbone(UNetBackbone):
    """A `Backbone` over a folder that ``StableDiffusionXLPipeline.from_pretrained`` also reads.

    zero_null: whether the null prompt is all zeros instead of an encoded "", as the published SDXL
    wants it (``force_zeros_for_empty_prompt``). diffusers does this when it is given no negative
    prompt. Here it holds for the null condition of Algorithm 1 as well, so that a residual is
    compared with the very prediction that guidance starts from.
    """

    encoders: tuple[str, ...] = (CLIP_L, CLIP_G)

    def __init__(
        self,
        *,
        clips: Sequence[Clip],
        unet: UNet2DConditionModel,
        vae: AutoencoderKL | AutoencoderTiny,
        scheduler: Any,
        runtime: Runtime,
        zero_null: bool,
    ) -> None:
        super().__init__(clips=clips, unet=unet, vae=vae, scheduler=scheduler, runtime=runtime)
        self.zero_null = zero_null

    @classmethod
    def load(cls, folder: Path, runtime: Runtime) -> SDXLBackbone:
        """Read the seven parts that ``model_index.json`` names.

        Raises BaseRefused when a part is missing, damaged or of a class that is not served here.
        """
        with loading("Stable Diffusion", folder):
            index = json.loads((folder / "model_index.json").read_text("utf-8"))
            clips = [
                Clip.load(CLIP_L, folder / "tokenizer", folder / "text_encoder", CLIPTextModel),
                Clip.load(
                    CLIP_G,
                    folder / "tokenizer_2",
                    folder / "text_encoder_2",
                    CLIPTextModelWithProjection,
                ),
            ]
            for clip in clips:
                clip.frozen(runtime)  # out of the RAM, before the next part is read into it
            unet, vae, scheduler = load_denoiser(folder, runtime)
            return cls(
                clips=clips,
                unet=unet,
                vae=vae,
                scheduler=scheduler,
                runtime=runtime,
                zero_null=index.get("force_zeros_for_empty_prompt", True),  # diffusers' default
            )

    @property
    def tokenizer_2(self) -> CLIPTokenizer:
        """The second text encoder's; it pads with "!", where the first repeats the end-of-text."""
        return self.clips[1].tokenizer

    @property
    def text_encoder_2(self) -> Any:
        """The second text encoder."""
        return self.clips[1].encoder

    def encode_text(self, prompts: Sequence[Prompt], rows: Rows) -> Conditioning:
        """See `Backbone.encode_text`: both encoders' penultimate states, and bigG's pooled output.

        embeds: (B, L, d_l + d_g). pooled: (B, d_projection).
        """
        clip_l, clip_g = (clip.read(prompts, rows) for clip in self.clips)
        embeds = torch.cat([clip_l.penultimate, clip_g.penultimate], dim=-1)  # (B, L, d_l + d_g)
        pooled = self.text_encoder_2.text_projection(clip_g.end)
        if self.zero_null:
            null = torch.tensor([_is_null(prompt) for prompt in prompts], device=embeds.device)
            embeds = embeds.masked_fill(null[:, None, None], 0.0)
            pooled = pooled.masked_fill(null[:, None], 0.0)
        both = {"embeds": embeds, "pooled": pooled}
        tensors = {k: v.to(self.device, self.dtype) for k, v in both.items()}
        return self._with_places(tensors, prompts, rows)

    def _forward(self, z_t: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        added = {"text_embeds": cond.tensors["pooled"], "time_ids": self._time_ids(z_t)}
        with confined_to(self._confined, cond, z_t):
            predicted: Tensor = self.unet(
                z_t.to(self.dtype),
                t,
                encoder_hidden_states=cond.tensors["embeds"],
                added_cond_kwargs=added,
            ).sample
        return predicted.float()

    def _time_ids(self, z_t: Tensor) -> Tensor:
        """(B, 6): the size before scaling, the crop's corner, and the size, each down then across.

        As in diffusers' pipeline, a picture counts as one that had this size and was not cut: a
        photo too, so that what is learned is what will be drawn with.
        """
        height, width = (side * self._scale for side in z_t.shape[-2:])
        ids = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)
        return ids.to(z_t.device).expand(len(z_t), -1)


def _is_null(prompt: Prompt) -> bool:
    return all(isinstance(piece, str) and not piece.strip() for piece in prompt)
