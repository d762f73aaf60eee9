"""What the three trainings share: the clock, the device, the learning rate, the checkpoint.

A training is told how long it may run, not how many steps: it saves itself and stops, and the
same command goes on from there, on whatever machine there is.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mini.muon import Muon

SAVE_EVERY = 300.0  # seconds


transformers.logging.set_verbosity_error()  # it wants torchvision, which nothing here does


def arguments(about: str, **defaults: Any) -> argparse.ArgumentParser:
    """The options that every training takes; `defaults` replaces those of this one."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--artwork", type=Path, default=Path("artwork"))
    parser.add_argument("--work", type=Path, default=Path("artwork/work"), help="checkpoints")
    parser.add_argument("--minutes", type=float, default=30.0, help="of this run")
    parser.add_argument("--steps", type=int, help="of the whole training: the schedule's end")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="saved weights to begin with, in a folder")
    parser.set_defaults(**defaults)
    return parser


def device() -> torch.device:
    """The GPU where there is one; else the CPU, set up for small nets."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    # Its fused attention goes backwards at a third of the speed of plain products at this size.
    torch.backends.cuda.enable_flash_sdp(False)  # the switch is the CPU's too
    return torch.device("cpu")


def half(where: torch.device) -> torch.autocast:
    """bf16 where it is fast; on other CPUs it is ten times slower than fp32."""
    return torch.autocast(where.type, torch.bfloat16, enabled=half_is_fast(where))


def half_is_fast(where: torch.device) -> bool:
    """Whether `where` multiplies bf16 in hardware."""
    return where.type == "cuda" or torch.cpu._is_avx512_bf16_supported()


def rate(step: int, steps: int, warmup: int = 200) -> float:
    """A linear rise, a plateau, and a cosine fall over the last 40 %, to a hundredth."""
    if step < warmup:
        return (step + 1) / warmup
    fall = (step - 0.6 * steps) / (0.4 * steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(max(fall, 0.0), 1.0)))


@dataclass
class Average:
    """An exponential moving average of a module's parameters, short at first."""

    decay: float
    values: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Follow the parameters after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in module.named_parameters():
            kept = self.values.get(name)
            if kept is None:
                self.values[name] = parameter.detach().clone()
            else:
                kept.lerp_(parameter, 1 - decay)


def adamw(module: nn.Module, lr: float, weight_decay: float = 0.01) -> list[Optimizer]:
    """AdamW over everything."""
    return [_adamw(module.parameters(), lr, weight_decay)]


def muon(module: nn.Module, lr: float, weight_decay: float = 0.01) -> list[Optimizer]:
    """Muon over the layers within, at three times `lr`; AdamW over vectors and both ends.

    The ends are the word embeddings and the convolutions into and out of latents, as Jordan et
    al. leave them.
    """
    within = {
        name: p
        for name, p in module.named_parameters()
        if p.ndim > 1 and not any(end in name for end in ("embedding", "conv_in", "conv_out"))
    }
    rest = [p for name, p in module.named_parameters() if name not in within]
    dtype = torch.bfloat16 if half_is_fast(next(module.parameters()).device) else torch.float32
    return [
        _adamw(rest, lr, weight_decay),
        Muon(within.values(), 3 * lr, weight_decay=weight_decay, dtype=dtype),
    ]


def _adamw(params: Iterable[Tensor], lr: float, weight_decay: float) -> Optimizer:
    return torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay)


class Run:
    """A training that can be left and taken up again.

    module: what is trained, by `optimizers`. path: the checkpoint; read when it is there.
    """

    def __init__(
        self, module: nn.Module, optimizers: list[Optimizer], path: Path, *, steps: int,
        minutes: float, decay: float = 0.999,
    ) -> None:  # fmt: skip
        self.module, self.optimizers, self.path, self.steps = module, optimizers, path, steps
        self.average = Average(decay)
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(each, lambda step: rate(step, steps))
            for each in optimizers
        ]
        self.step, self.seconds = 0, 0.0
        self._until = time.monotonic() + 60 * minutes
        if path.exists():
            state = torch.load(path, map_location=next(module.parameters()).device)
            module.load_state_dict(state["module"])
            for each, saved in zip(self._moving(), state["moving"], strict=True):
                each.load_state_dict(saved)
            self.average.values = state["average"]
            self.step, self.seconds = state["step"], state["seconds"]
            print(f"going on from step {self.step}, after {self.seconds / 60:.0f} min")

    def _moving(self) -> list[Optimizer | LRScheduler]:
        return [*self.optimizers, *self.schedules]

    def update(self, loss: Tensor) -> None:
        """One step of every optimizer on `loss`."""
        self.module.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        for each in self._moving():
            each.step()
        self.average.update(self.module, self.step)

    def steps_left(self, report: Callable[[], str], every: float = 30.0) -> Iterator[int]:
        """The steps there are time for. `report`: a line to print now and then."""
        began = said = saved = time.monotonic()
        before = self.seconds
        while self.step < self.steps and time.monotonic() < self._until:
            yield self.step
            self.step += 1
            now = time.monotonic()
            self.seconds = before + now - began
            if now - said > every:
                said = now
                print(f"{self.seconds / 60:6.1f} min  step {self.step:6d}  {report()}", flush=True)
            if now - saved > SAVE_EVERY:
                saved = now
                self.save()
        self.save()
        print(f"{self.seconds / 60:6.1f} min  step {self.step:6d}  {report()}", flush=True)

    def save(self) -> None:
        """Write the checkpoint beside the old one, then over it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".part")
        torch.save(
            {
                "module": self.module.state_dict(),
                "moving": [each.state_dict() for each in self._moving()],
                "average": self.average.values, "step": self.step, "seconds": self.seconds,
            },
            beside,
        )  # fmt: skip
        beside.replace(self.path)

    def averaged(self) -> nn.Module:
        """The module with its averaged parameters in place, for evaluation and for shipping."""
        self.module.load_state_dict(self.average.values, strict=False)
        return self.module.eval()
