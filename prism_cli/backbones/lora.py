"""Low-rank factors on a denoiser's attention, through peft. ``alpha == rank`` always.

Other tools read a LoRA file without its alpha; with alpha equal to the rank there is nothing to
misread.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import cast_adapter_dtype
from torch import Generator, Tensor, nn

from prism_cli.errors import BaseMismatch

TRAINED = "trained"  # peft's adapter name for the factors that `inject` makes
UNET, TRANSFORMER = "unet.", "transformer."  # diffusers' key prefixes, by the kind of denoiser


def inject(denoiser: Any, rank: int, targets: Sequence[str], rng: Generator) -> list[nn.Parameter]:
    """Add fresh fp32 factors to `targets` and return them in the order of the module's names.

    A ~ N(0, 1/rank^2), B = 0: the model draws as before. peft would draw A from the global
    generator; here it comes from `rng`. peft also casts the factors to the layer's own precision,
    in which a small update rounds to nothing; here they are fp32 whatever the layer is.
    """
    denoiser.add_adapter(_config(rank, targets), adapter_name=TRAINED)
    factors = []
    for name, parameter in denoiser.named_parameters():
        if f".{TRAINED}." not in name:
            continue
        start = torch.zeros(parameter.shape)  # on the CPU, where `rng` lives
        if ".lora_A." in name:
            start.normal_(std=1 / rank, generator=rng)
        parameter.data = start.to(parameter.device)
        factors.append(parameter)
    return factors


@contextmanager
def left_out(denoiser: Any) -> Iterator[None]:
    """While open, the denoiser predicts as if nothing had been injected."""
    denoiser.disable_adapters()
    try:
        yield
    finally:
        denoiser.enable_adapters()


def extract(denoiser: Any, prefix: str = UNET) -> dict[str, Tensor]:
    """The injected factors: ``unet.<layer>.lora_A.weight`` (r, in), ``.lora_B.weight`` (out, r).

    prefix: what stands before the layer's name in place of ``unet.``.
    """
    state = get_peft_model_state_dict(denoiser, adapter_name=TRAINED)
    return {prefix + name: factor.detach().cpu().clone() for name, factor in state.items()}


def attach(
    denoiser: Any,
    loras: Mapping[str, tuple[Mapping[str, Tensor], float]],
    targets: Sequence[str],
    prefix: str = UNET,
) -> None:
    """Draw with the sum of these LoRAs, each times its weight; peft adds the deltas exactly.

    They take the place of those that were attached before.
    prefix: what stands before the layers' names in the states' keys.
    Raises BaseMismatch for a factor of a layer that the denoiser does not have, or of its size.
    """
    before = [name for name in getattr(denoiser, "peft_config", ()) if name != TRAINED]
    if before:
        denoiser.delete_adapters(before)
    layers = {
        name: module
        for name, module in denoiser.named_modules()
        if isinstance(module, nn.Linear | LoraLayer)
        and any(f".{name}".endswith(f".{t}") for t in targets)
    }
    for name, (state, _) in loras.items():
        _check_fits(name, state, layers, prefix)
    # Not under the concepts' own names: peft keeps adapters in a torch ModuleDict, which refuses
    # those of its own attributes, such as "pop" or "train".
    adapters = {adapter_name(k): lora for k, lora in enumerate(loras.values())}
    for name, (state, _) in adapters.items():
        factors = {key.removeprefix(prefix): factor for key, factor in state.items()}
        rank = next(f.shape[0] for key, f in factors.items() if ".lora_A." in key)
        with warnings.catch_warnings():  # of a second adapter, which is what is wanted
            warnings.filterwarnings("ignore", "Already found a `peft_config`")
            denoiser.add_adapter(_config(rank, targets), adapter_name=name)
        cast_adapter_dtype(denoiser, adapter_name=name)  # to fp32, as they were trained
        set_peft_model_state_dict(denoiser, factors, adapter_name=name)
    if adapters:
        denoiser.set_adapters(list(adapters), [weight for _, weight in adapters.values()])
        denoiser.requires_grad_(False)


def adapter_name(k: int) -> str:
    """What peft knows the k-th attached LoRA by."""
    return f"concept{k}"


def _check_fits(
    concept: str,
    state: Mapping[str, Tensor],
    layers: Mapping[str, nn.Linear | LoraLayer],
    prefix: str,
) -> None:
    for key, factor in state.items():
        layer, _, end = key.removeprefix(prefix).rpartition(".lora_")
        linear = layers.get(layer)
        if end == "A.weight":
            fits = linear is not None and factor.shape[1] == linear.in_features
        else:
            fits = linear is not None and factor.shape[0] == linear.out_features
        if not fits:
            raise BaseMismatch(
                f"the LoRA of {concept!r} does not fit this base at {layer}",
                hint="get the archive again from where it came, or train the concept again",
            )


def _config(rank: int, targets: Sequence[str]) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets))
