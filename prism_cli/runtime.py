"""The machine: device, precision, seeds, and what a run has used."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import psutil
import torch
from torch import Generator

try:
    import resource
except ImportError:  # Windows has none; psutil knows its peak
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where a base runs, and in which precision its denoiser does."""

    device: torch.device
    dtype: torch.dtype


def detect() -> Runtime:
    """The first of CUDA, Apple's Metal and the CPU that is here.

    bf16 where a GPU has it: fp16 needs loss scaling. The CPU computes in fp32: without AVX512-BF16
    or AMX, bf16 is about ten times slower.
    """
    if torch.cuda.is_available():
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
        return Runtime(torch.device("cuda"), dtype)
    if torch.backends.mps.is_available():
        return Runtime(torch.device("mps"), torch.float32)
    return Runtime(torch.device("cpu"), torch.float32)


def generator(seed: int) -> Generator:
    """A CPU generator: its draws are the same whatever device the model runs on."""
    return Generator().manual_seed(seed)


def peak_memory() -> int:
    """The most memory this process has held so far, in bytes: the GPU's if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if resource is None:
        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
