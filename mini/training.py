"""What the three trainings share: the clock, the device, the learning rate, the checkpoint.

A training is told how long it may run, not how many steps: it saves itself and stops, and the
same command goes on from there, on whatever machine there is. Only a training whose rate falls by
the clock (`--steps 0`) is done in one run.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import transformers
from numpy.random import Generator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mini.muon import Muon

SAVE_EVERY = 300.0  # seconds
T = TypeVar("T")
Trained = TypeVar("Trained", bound=nn.Module)


transformers.logging.set_verbosity_error()  # it wants torchvision, which nothing here does


def arguments(about: str, **defaults: Any) -> argparse.ArgumentParser:
    """The options that every training takes; `defaults` replaces those of this one."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--artwork", type=Path, default=Path("artwork"))
    parser.add_argument("--work", type=Path, default=Path("artwork/work"), help="checkpoints")
    parser.add_argument("--minutes", type=float, default=30.0, help="of this run")
    parser.add_argument(
        "--steps", type=int,
        help="of the whole training, by which the rate falls; 0: by the minutes of this one run",
    )  # fmt: skip
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


def workers(where: torch.device) -> int:
    """The processes that draw for a training: on a CPU none, since it needs every core itself."""
    return max(1, (os.cpu_count() or 1) - 2) if where.type == "cuda" else 0


class Drawn(IterableDataset[T]):
    """What `draw` makes of a generator, for ever; in every worker from another seed.

    draw: is given how plain pictures should be too, by `plain`, a shared tensor of one number
    that the training may change while its workers draw; what they drew ahead is as it was then.
    """

    def __init__(self, draw: Callable[[Generator, float], T], seed: int, plain: Tensor) -> None:
        self.draw, self.seed, self.plain = draw, seed, plain

    def __iter__(self) -> Iterator[T]:
        worker = get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        while True:
            yield self.draw(rng, self.plain.item())

    def loaded(self, workers: int) -> Iterable[T]:
        """The same, drawn ahead by as many processes."""
        ahead = 1 if workers else None
        return DataLoader(self, batch_size=None, num_workers=workers, prefetch_factor=ahead)


def half(where: torch.device) -> torch.autocast:
    """bf16 where it is fast; on other CPUs it is ten times slower than fp32."""
    return torch.autocast(where.type, torch.bfloat16, enabled=half_is_fast(where))


def half_is_fast(where: torch.device) -> bool:
    """Whether `where` multiplies bf16 in hardware."""
    return where.type == "cuda" or torch.cpu._is_avx512_bf16_supported()


def rate(step: int, done: float, warmup: int = 200) -> float:
    """A linear rise, a plateau, and a cosine fall over the last 40 %, to a hundredth.

    done: the share of the training that is over, in [0, 1].
    """
    if step < warmup:
        return (step + 1) / warmup
    fall = (done - 0.6) / 0.4
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
        parameters = dict(module.named_parameters())
        if not self.values:
            self.values = {name: each.detach().clone() for name, each in parameters.items()}
        kept = [self.values[name] for name in parameters]
        torch._foreach_lerp_(kept, list(parameters.values()), 1 - decay)


BEFORE_RECORDING = 3  # steps that make what is kept between steps: gradients, momenta


class Recorded:
    """A step that a GPU does again from a recording: launching small nets takes longer than them.

    step: takes and gives tensors of shapes that never change, and reads nothing from the device.
    """

    def __init__(self, step: Callable[..., Tensor]) -> None:
        self._step = step
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self._graph is None:
            self._inputs = [each.clone() for each in inputs]
            self._graph = self._record()
        for place, each in zip(self._inputs, inputs, strict=True):
            place.copy_(each)
        self._graph.replay()
        return self._out.clone()

    def _record(self) -> torch.cuda.CUDAGraph:
        """Record the step, after some that are done."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(BEFORE_RECORDING):
                self._step(*self._inputs)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._out = self._step(*self._inputs)
        return graph


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
    where = next(module.parameters()).device
    dtype = torch.bfloat16 if half_is_fast(where) else torch.float32
    faster = _movable(3 * lr, where)
    return [
        _adamw(rest, lr, weight_decay),
        Muon(within.values(), faster, weight_decay=weight_decay, dtype=dtype),
    ]


def _adamw(params: Iterable[Tensor], lr: float, weight_decay: float) -> Optimizer:
    moved = list(params)
    where = moved[0].device
    return torch.optim.AdamW(
        moved, lr=_movable(lr, where), betas=(0.9, 0.99), weight_decay=weight_decay,
        capturable=where.type == "cuda",
    )  # fmt: skip


def _movable(lr: float, where: torch.device) -> float | Tensor:
    """The rate; on a GPU in its memory, where a recorded step finds what it is now."""
    return torch.tensor(lr, device=where) if where.type == "cuda" else lr


class Run(Generic[Trained]):
    """A training that can be left and taken up again.

    module: what is trained, by `optimizers`. path: the checkpoint; read when it is there.
    steps: of the whole training; 0 for as many as `minutes` have room for.
    """

    def __init__(
        self, module: Trained, optimizers: list[Optimizer], path: Path, *, steps: int,
        minutes: float, decay: float = 0.999,
    ) -> None:  # fmt: skip
        self.module, self.optimizers, self.path, self.steps = module, optimizers, path, steps
        self.average = Average(decay)
        self.step, self.seconds = 0, 0.0
        self._began, self._minutes = time.monotonic(), minutes
        self._full = [[float(group["lr"]) for group in each.param_groups] for each in optimizers]
        if path.exists():
            if not steps:
                raise SystemExit(f"{path} is there, and a rate by the clock is that of one run")
            state = torch.load(path, map_location=next(module.parameters()).device)
            module.load_state_dict(state["module"])
            for each, saved in zip(self.optimizers, state["optimizers"], strict=True):
                # The groups stay this device's: where a rate lies is a matter of the device.
                each.load_state_dict(saved | {"param_groups": each.state_dict()["param_groups"]})
            self.average.values = state["average"]
            self.step, self.seconds = state["step"], state["seconds"]
            print(f"going on from step {self.step}, after {self.seconds / 60:.0f} min")

    @property
    def done(self) -> float:
        """The share of the training that is over, in [0, 1]."""
        if self.steps:
            return min(1.0, self.step / self.steps)
        if not self._time_is_left():
            return 1.0
        return (time.monotonic() - self._began) / (60 * self._minutes)

    def _time_is_left(self) -> bool:
        return time.monotonic() < self._began + 60 * self._minutes

    def update(self, loss: Tensor) -> None:
        """One step of every optimizer on `loss`."""
        self.module.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        for each in self.optimizers:
            each.step()

    def _set_rates(self) -> None:
        share = rate(self.step, self.done)
        for optimizer, full in zip(self.optimizers, self._full, strict=True):
            for group, lr in zip(optimizer.param_groups, full, strict=True):
                if isinstance(group["lr"], Tensor):  # where a recorded step reads it
                    group["lr"].fill_(share * lr)
                else:
                    group["lr"] = share * lr

    def steps_left(self, report: Callable[[], str], every: float = 30.0) -> Iterator[int]:
        """The steps there are time for, each of which is to `update`; `report`: a line to print."""
        began = said = saved = time.monotonic()
        before = self.seconds
        while (not self.steps or self.step < self.steps) and self._time_is_left():
            self._set_rates()
            yield self.step
            self.average.update(self.module, self.step)  # its decay changes: it is not recorded
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
                "optimizers": [each.state_dict() for each in self.optimizers],
                "average": self.average.values, "step": self.step, "seconds": self.seconds,
            },
            beside,
        )  # fmt: skip
        beside.replace(self.path)

    def averaged(self) -> Trained:
        """The module with its averaged parameters in place, for evaluation and for shipping."""
        self.module.load_state_dict(self.average.values, strict=False)
        return self.module.eval()
