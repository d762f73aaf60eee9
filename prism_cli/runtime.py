"""The machine: what it has, how a base runs on it, seeds, and what a run has used."""

from __future__ import annotations

import ctypes
import gc
import platform
import secrets
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import psutil
import torch
from torch import Generator

from prism_cli.errors import OptionRefused, first_line

try:
    import resource
except ImportError:  # Windows has none; psutil knows its peak
    resource = None  # type: ignore[assignment]


class Quantization(StrEnum):
    """How bitsandbytes keeps the weights of linear layers."""

    INT8 = "int8"
    NF4 = "nf4"


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where a base runs, in which precision its denoiser does, and how it is made to fit there."""

    device: torch.device
    dtype: torch.dtype
    text_device: torch.device | None = None  # where the text encoders run; None: `device`
    text_dtype: torch.dtype = torch.float32
    quantization: Quantization | None = None  # of a transformer and its T5, while they are read
    checkpointing: bool = False  # the denoiser's blocks are computed again in the backward pass
    micro_batch: int | None = None  # most samples that pass through the denoiser at once
    vae_parked: bool = False  # the autoencoder lies in RAM while it has nothing to do
    vae_tiled: bool = False  # it takes a picture in tiles, which it blends
    copy: Path | None = None  # where the parts lie that were quantized before
    compiled: bool = False  # the denoiser's blocks, by torch.compile


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is to fit a base into. Bytes; a Mac's and a CPU's memory is their RAM."""

    kind: str  # "cuda", "mps" or "cpu"
    memory: int  # what the device has
    free: int  # what of it is free now
    ram: int
    ram_free: int
    bf16: bool
    bitsandbytes: bool  # whether it is installed

    @property
    def separate(self) -> bool:
        """Whether the device has memory of its own beside the RAM."""
        return self.kind == "cuda"


def detect() -> Runtime:
    """The first of CUDA, Apple's Metal and the CPU that is here.

    bf16 where a GPU computes in it, which torch emulates elsewhere: fp16 needs loss scaling. The
    CPU computes in fp32: without AVX512-BF16 or AMX, bf16 is about ten times slower.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return Runtime(torch.device("cuda"), torch.bfloat16 if native else torch.float32)
    if torch.backends.mps.is_available():
        return Runtime(torch.device("mps"), torch.float32)
    return Runtime(torch.device("cpu"), torch.float32)


def machine() -> Machine:
    """The machine that this runs on, as it is now.

    What an earlier base of this process has left in torch's cache counts as free.
    """
    runtime = detect()
    gc.collect()
    ram = psutil.virtual_memory()
    if runtime.device.type == "cuda":
        torch.cuda.empty_cache()
        free, memory = torch.cuda.mem_get_info()
    elif runtime.device.type == "mps":
        torch.mps.empty_cache()
        memory = torch.mps.recommended_max_memory()  # what Metal lets a process have
        free = memory - torch.mps.driver_allocated_memory()
    else:
        free, memory = ram.available, ram.total
    return Machine(
        kind=runtime.device.type,
        memory=memory,
        free=free,
        ram=ram.total,
        ram_free=ram.available,
        bf16=runtime.dtype == torch.bfloat16,
        bitsandbytes=find_spec("bitsandbytes") is not None,
    )


def return_freed_memory() -> None:
    """Have glibc give every freed block of 1 MiB or more back to the system at once.

    Left alone, it comes to keep blocks of up to 32 MiB in a heap that activations of mixed sizes
    soon fill with gaps: Stable Diffusion 1.5 at full size then takes half as much again
    (benchmarks/README.md). Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)


_M_MMAP_THRESHOLD = -3  # malloc.h


def generator(seed: int) -> Generator:
    """A CPU generator: its draws are the same whatever device the model runs on."""
    return Generator().manual_seed(seed)


def check_compiler(device: torch.device) -> None:
    """Raise OptionRefused where torch.compile does not work, which a sum is enough to find out.

    What it takes, a C++ compiler with Python's headers or Triton, is known only to torch itself.
    """
    try:
        # A kernel that an earlier process has left in the cache would take no compiler.
        addend = secrets.randbelow(2**32) / 2
        torch.compile(lambda x: x + addend)(torch.zeros(8, device=device))
    except Exception as error:  # the compilers behind it raise whatever they met
        reason = first_line(error)
        needs = "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler such as g++"
        raise OptionRefused(
            f"--compile does not work on this machine: {reason}",
            hint=f"it takes {needs}, with Python's headers; or leave --compile out",
        ) from error


def matrix_product_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product, measured for 0.2 s or more."""
    n = 1024 if device.type == "cpu" else 4096
    a = torch.ones(n, n, device=device, dtype=dtype)
    (a @ a)[0, 0].item()  # the first one sets things up
    began, products = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < 0.2:
        (a @ a)[0, 0].item()  # waits for the device
        products += 1
    return products * 2 * n**3 / elapsed


def peak_memory() -> int:
    """The most memory this process has held so far, in bytes: the GPU's if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if resource is None:
        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
