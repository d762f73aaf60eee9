"""The embedded base, loaded once; a test that changes weights takes a copy of its own."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Generator

from prism_cli.backbones import catalog
from prism_cli.backbones.unet import UNetBackbone
from prism_cli.runtime import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32)


@cache
def mini() -> UNetBackbone:
    """The shared one: for reading only."""
    return UNetBackbone.load(catalog.resolve("mini").folder, CPU)


def fresh_mini() -> UNetBackbone:
    """One to train, or to attach LoRA factors to."""
    return copy.deepcopy(mini())


def seeded(seed: int) -> Generator:
    """A generator of chance."""
    return Generator().manual_seed(seed)
