"""One full-size Stable Diffusion 1.5 of random weights: two steps of each stage on the CPU.

    python benchmarks/full_size.py          # about 13 GB of memory
    python benchmarks/full_size.py --tiny   # checks the script itself, in seconds

The process may have 20 GB and no more: what does not fit fails. Prints the time of each stage and
the peak of the memory against what the plan says before anything is built.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import PNDMScheduler
from torch import nn
from transformers import CLIPTokenizer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from prism_cli.backbones import catalog  # noqa: E402
from prism_cli.backbones.clip import Clip  # noqa: E402
from prism_cli.backbones.footprint import Footprint  # noqa: E402
from prism_cli.backbones.unet import CLIP_L, UNetBackbone  # noqa: E402
from prism_cli.runtime import machine, peak_memory, return_freed_memory  # noqa: E402
from prism_cli.services.events import Event, StageBegan, StageMoved  # noqa: E402
from prism_cli.services.memory_needs import Work  # noqa: E402
from prism_cli.services.memory_plan import choose  # noqa: E402
from prism_cli.services.training_run import TrainingRun  # noqa: E402
from prism_cli.settings import Recipe  # noqa: E402
from tests.full_size import save_configs  # noqa: E402
from tests.tiny_pipeline import NOISE, save_tiny_pipeline  # noqa: E402

LIMIT = 20 * 2**30
PHOTOS, STEPS = 2, 2
CAPTION = "a red dog on a blue chair in the snow at night"


def random_weights(model: Any) -> Any:
    """`model`, built without weights, with small random ones."""
    model.to_empty(device="cpu")
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.02)
    for buffer in model.buffers():  # positions: the only ones that these classes have
        if not buffer.is_floating_point():
            buffer.copy_(torch.arange(buffer.numel()).view_as(buffer))
    return model


class Clock:
    """An event sink that keeps the seconds of each step, and the peak of the memory after each."""

    def __init__(self) -> None:
        self.last, self.seconds = time.perf_counter(), dict[str, list[float]]()
        self.peaks: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        now = time.perf_counter()
        if isinstance(event, StageMoved):
            self.seconds.setdefault(event.stage, []).append(now - self.last)
            self.peaks[event.stage] = peak_memory()
        if isinstance(event, StageBegan | StageMoved):
            self.last = now


def main() -> None:
    """Plan, build, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    return_freed_memory()
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "base"
        footprint = Footprint(save_tiny_pipeline(folder) if tiny else save_configs("sd15", folder))
        recipe = Recipe()
        recipe = replace(
            recipe,
            tokens=replace(recipe.tokens, steps=STEPS, evaluation_times=1),
            finetuning=replace(recipe.finetuning, steps=STEPS, evaluation_times=1),
        )
        size = (16, 16) if tiny else (512, 512)
        here = replace(machine(), memory=LIMIT, free=LIMIT)
        plan = choose(footprint, here, Work(size=size, recipe=recipe, photos=PHOTOS))
        print(f"plan: {plan.device_bytes / 1e9:.2f} GB, {plan.way}")
        tokenizer = CLIPTokenizer.from_pretrained(
            folder / "tokenizer" if tiny else catalog.resolve("mini").folder / "tokenizer"
        )
        if not tiny:
            tokenizer.model_max_length = 77
        base = UNetBackbone(
            clips=[Clip(CLIP_L, tokenizer, random_weights(footprint.build("text_encoder")))],
            unet=random_weights(footprint.build("unet")),
            vae=random_weights(footprint.build("vae")),
            scheduler=PNDMScheduler(skip_prk_steps=True, **NOISE),
            runtime=plan.runtime(torch.device("cpu")),
        )
        clock = Clock()
        clock.peaks["weights"] = peak_memory()
        z_0 = base.encode_images(torch.rand(PHOTOS, 3, *size) * 2 - 1)[:, None]
        clock.peaks["photos"] = peak_memory()
        TrainingRun(
            backbone=base,
            z_0=z_0,
            name="x",
            captions=[CAPTION] * PHOTOS,
            start=None,
            recipe=recipe,
            seed=0,
            lora_seed=1,
            checkpoint_path=Path(place) / "checkpoint",
            created="",
            on_event=clock,
        ).run()
    for stage, seconds in clock.seconds.items():
        print(f"{stage}: {', '.join(f'{s:.1f} s' for s in seconds)}")
    print("peak after", ", ".join(f"{k}: {v / 1e9:.2f} GB" for k, v in clock.peaks.items()))
    peak = peak_memory()
    print(f"peak: {peak / 1e9:.2f} GB, {peak / plan.device_bytes:.0%} of the plan")


if __name__ == "__main__":
    main()
