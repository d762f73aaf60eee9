"""What each speed knob brings on a base: a step with it against the same step without it.

    python benchmarks/speed_knobs.py [BASE] [--rounds 7] [--steps 5] [--knobs compile ...]

A training step is a forward and backward pass of two samples through the denoiser with a LoRA, a
drawing step a forward pass of two. The baseline is in fp32 without TF32, in contiguous memory, with
fused attention, which diffusers has by itself, and not compiled. Each knob is turned alone; "math
attention" is fused attention turned off. Both take turns, so that a machine that gets slower does
so for both. Prints their medians, and the ratio with a bootstrapped 95 % interval.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Generator
from torch.nn.attention import SDPBackend, sdpa_kernel

from prism_cli.backbones import catalog
from prism_cli.errors import OptionRefused
from prism_cli.runtime import Runtime, check_compiler, detect

BATCH, RANK = 2, 4
KNOBS = ("bf16", "TF32", "channels-last", "math attention", "compile")


def missing(knob: str, device: torch.device, adapter: str) -> str:
    """Why the knob cannot be turned here; "" where it can."""
    cuda = device.type == "cuda"
    if knob == "bf16" and not (cuda and detect().dtype == torch.bfloat16):
        return "no GPU with bf16"
    if knob in ("TF32", "channels-last") and not cuda:
        return "no CUDA"
    if knob == "channels-last" and "flux" in adapter:
        return "no UNet"
    if knob == "compile":
        try:
            check_compiler(device)
        except OptionRefused as error:
            return error.message
    return ""


@contextmanager
def turned(knob: str) -> Iterator[None]:
    """While open, what of the process the knob changes is changed, and all else is not."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = knob == "TF32"
    if knob == "math attention":
        with sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        yield


def steps_of(base: str, runtime: Runtime, knob: str) -> dict[str, Callable[[], None]]:
    """A training and a drawing step on a base of its own, which are to be called while `turned`."""
    dtype = torch.bfloat16 if knob == "bf16" else torch.float32
    entry = catalog.resolve(base)
    backbone: Any = catalog.load(
        entry, replace(runtime, dtype=dtype, text_dtype=dtype, compiled=knob == "compile")
    )
    denoiser = backbone.unet if hasattr(backbone, "unet") else backbone.transformer
    layout = torch.channels_last if knob == "channels-last" else torch.contiguous_format
    denoiser.to(memory_format=layout)
    with torch.no_grad():
        cond = backbone.encode_text([("a red dog",), ("a cat on snow",)], {})
    backbone.release_text_encoders()
    backbone.add_lora(RANK, Generator().manual_seed(0))
    z_t = backbone.initial_noise((entry.size, entry.size), range(BATCH))
    t = backbone.spread_times(BATCH)

    def train() -> None:
        backbone.predict(z_t, t, cond).square().mean().backward()
        wait(runtime.device)

    @torch.no_grad()
    def draw() -> None:
        backbone.predict(z_t, t, cond)
        wait(runtime.device)

    return {"training": train, "drawing": draw}


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def milliseconds(knob: str, step: Callable[[], None], count: int) -> float:
    """Of a step, as the mean of `count`."""
    with turned(knob):
        began = time.perf_counter()
        for _ in range(count):
            step()
        return (time.perf_counter() - began) / count * 1000


def interval(ratios: list[float]) -> tuple[float, float]:
    """Of the median, by bootstrap, 95 %."""
    rng = random.Random(0)
    resampled = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return resampled[50], resampled[-51]


def main() -> None:
    """Print the table, a line for each knob and kind of step."""
    parser = argparse.ArgumentParser(description="What each speed knob brings on a base.")
    parser.add_argument("base", nargs="?", default="mini")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--knobs", nargs="+", choices=KNOBS, default=KNOBS)
    arguments = parser.parse_args()
    runtime = detect()
    where = torch.cuda.get_device_name() if runtime.device.type == "cuda" else runtime.device.type
    print(f"{arguments.base} on {where}, torch {torch.__version__}, {BATCH} samples a step")
    plain = steps_of(arguments.base, runtime, "")
    for knob in arguments.knobs:
        why = missing(knob, runtime.device, catalog.resolve(arguments.base).adapter)
        if why:
            print(f"{knob:15} skipped: {why}")
            continue
        other = steps_of(arguments.base, runtime, knob)
        for kind, step in plain.items():
            first = milliseconds(knob, other[kind], 1)
            pairs = [
                (
                    milliseconds("", step, arguments.steps),
                    milliseconds(knob, other[kind], arguments.steps),
                )
                for _ in range(arguments.rounds + 1)
            ][1:]
            ratios = [without / with_it for without, with_it in pairs]
            low, high = interval(ratios)
            without, with_it = (statistics.median(side) for side in zip(*pairs, strict=True))
            print(
                f"{knob:15} {kind:8} {without:8.1f} ms without, {with_it:8.1f} ms with:"
                f" {statistics.median(ratios):.2f} times as fast ({low:.2f} to {high:.2f});"
                f" first step {first / 1000:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
