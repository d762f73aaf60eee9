"""What a memory plan decided about a base, done to its parts.

Only `Runtime.quantization`, `text_dtype` and `vae_tiled` change what comes out; all else is the
same computation in another order or place.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from prism_cli.backbones.base import Conditioning
from prism_cli.runtime import Quantization, Runtime

# Graphs of a block's code, of which torch.compile keeps 8. A UNet has its blocks in four sizes, and
# each is called with and without gradients, with and without LoRA, on batches of several sizes.
GRAPHS = 64

TILE = 512  # pixels: what the published autoencoders of 512 px bases see whole

Predict = Callable[[Tensor, Tensor, Conditioning], Tensor]


def in_micro_batches(
    predict: Predict, most: int | None, z_t: Tensor, t: Tensor, cond: Conditioning
) -> Tensor:
    """`predict` on z_t (B, c, h, w) at t (B,) or (), at most `most` samples at once.

    Where gradients are recorded a part is computed again in the backward pass, so that the graph of
    one part exists at a time: one more forward, with the memory of `most` samples.
    """
    if most is None or len(z_t) <= most:
        return predict(z_t, t, cond)
    parts, t = [], t.expand(len(z_t))
    for some in torch.split(torch.arange(len(z_t)), most):
        at = some.to(z_t.device)
        part = z_t[at], t[at], cond.take(some)
        if torch.is_grad_enabled():
            # No part draws chance, so there is no generator's state to keep.
            again: Tensor = checkpoint(
                predict, *part, use_reentrant=False, preserve_rng_state=False
            )
            parts.append(again)
        else:
            parts.append(predict(*part))
    return torch.cat(parts)


def fitted_denoiser(denoiser: Any, runtime: Runtime) -> Any:
    """`denoiser` on its device, frozen; read in its precision, for quantized weights take no other.

    diffusers' blocks do it in evaluation mode too: they ask only whether gradients are recorded.
    """
    denoiser.to(runtime.device).eval().requires_grad_(False)
    use_fast_kernels(denoiser, runtime.device)
    if runtime.checkpointing:
        denoiser.enable_gradient_checkpointing()
    compile_blocks(denoiser, runtime)
    return denoiser


def use_fast_kernels(denoiser: Any, device: torch.device) -> None:
    """What is free on CUDA: TF32 for products of fp32 matrices, channels-last for convolutions.

    Not needed here: convolutions are in TF32 by torch's default, and attention is torch's fused one
    (scaled_dot_product_attention) by diffusers'. Of its kernels cuDNN's is left out: on Hopper its
    gradients are not numbers at some lengths (pytorch/pytorch#196678).
    """
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cuda.enable_cudnn_sdp(False)
    if isinstance(denoiser, UNet2DConditionModel):
        denoiser.to(memory_format=torch.channels_last)


def compile_blocks(denoiser: Any, runtime: Runtime) -> None:
    """Let torch.compile have the blocks that repeat, if the runtime says so; at their next call.

    Called again after factors were injected, since what is compiled is the block with its layers.
    """
    if not runtime.compiled:
        return
    from torch._dynamo import config  # takes a second to import

    config.recompile_limit = GRAPHS
    # It looks at the gradient of whatever a block is given, which is no leaf.
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
    denoiser.compile_repeated_blocks()


def fitted_vae(vae: Any, runtime: Runtime) -> Any:
    """`vae` in its place, frozen, in fp32 always: it is small, and SDXL's overflows in fp16.

    A large one takes one picture after another, which costs no time and saves gigabytes.
    """
    vae.to(_place(runtime), torch.float32).eval().requires_grad_(False)
    if isinstance(vae, AutoencoderKL):
        vae.enable_slicing()
        if runtime.vae_tiled:
            vae.enable_tiling()
            vae.tile_sample_min_size = TILE
            vae.tile_latent_min_size = TILE // 2 ** (len(vae.config.block_out_channels) - 1)
    return vae


@contextmanager
def at_work(vae: Any, runtime: Runtime) -> Iterator[None]:
    """While open, `vae` is on the device; afterwards where it lies."""
    vae.to(runtime.device)
    try:
        yield
    finally:
        vae.to(_place(runtime))


def weights(
    folder: Path, part: str, runtime: Runtime, settings: type[Any]
) -> tuple[Path, dict[str, Any]]:
    """Where `part` of the pipeline in `folder` is read from, and with which options.

    From the copy that was quantized before, where there is one, else see `quantized`.
    """
    if runtime.copy is not None:
        return runtime.copy / part, {}
    return folder / part, quantized(folder / part, runtime, settings)


def quantized(folder: Path, runtime: Runtime, settings: type[Any]) -> dict[str, Any]:
    """What ``from_pretrained`` has to be told so that it quantizes what it reads from `folder`.

    settings: diffusers' or transformers' ``BitsAndBytesConfig``. Nothing for weights that are kept
    quantized: their config.json says how.
    """
    kept = "quantization_config" in json.loads((folder / "config.json").read_text("utf-8"))
    if kept or runtime.quantization is None:
        return {}
    if runtime.quantization is Quantization.INT8:
        return {"quantization_config": settings(load_in_8bit=True)}
    # Of 4-bit kinds nf4 is the one made for normally distributed weights (Dettmers et al. 2023,
    # "QLoRA", section 3); computing in bf16 keeps the range that a fp16 activation would leave.
    return {
        "quantization_config": settings(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    }


def _place(runtime: Runtime) -> torch.device:
    return torch.device("cpu") if runtime.vae_parked else runtime.device
