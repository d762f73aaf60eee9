"""What it costs how OpenMP's threads wait for each other: alone, and beside another such process.

    python benchmarks/waiting.py [--rounds 3]

Times a step of both stages on the practice base, in processes of their own, since OpenMP reads its
settings when it starts. Prints milliseconds a step, the median over rounds and their range, for
threads that sleep at once and for those that spin for a moment first, as `prism` has it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import Any

POLICIES = {
    "sleep at once": {"OMP_WAIT_POLICY": "passive"},
    "spin for a moment (prism)": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"},
}
STEPS = 10
PHOTOS = 5


def timed() -> tuple[float, float]:
    """Milliseconds of a step of stage 1 and of stage 2, in this process."""
    import torch

    from prism_cli.backbones import catalog
    from prism_cli.method.finetuning import Finetuning, encode_conditions, finetune
    from prism_cli.method.token_optimization import TokenTraining, optimize_tokens
    from prism_cli.method.tokens import init_tokens
    from prism_cli.runtime import detect, generator

    entry = catalog.resolve("mini")
    backbone = catalog.load(entry, detect())
    never: dict[str, Any] = {"steps": 10**6, "evaluate_every": 10**6}
    z_0 = torch.randn(PHOTOS, 1, 8, 16, 16, generator=generator(0))
    captions = ["a dog in the city"] * PHOTOS
    tokens = init_tokens(
        backbone, "x", captions, length=1, word=None, residual_length=None, rng=generator(0)
    )
    options = replace(entry.recipe.tokens, **never)
    stage_1 = optimize_tokens(
        backbone, z_0, TokenTraining.start(tokens, options, generator(0)), options
    )
    first = _per_step(stage_1)
    tuning = replace(entry.recipe.finetuning, preservation=0.0, **never)
    lora = Finetuning.start(backbone, tuning, generator(1))
    conditions = encode_conditions(backbone, tokens, preserved=tuning.preserved)
    return first, _per_step(finetune(backbone, z_0, conditions, lora, tuning))


def _per_step(steps: Iterator[object]) -> float:
    for _ in range(2):
        next(steps)
    began = time.perf_counter()
    for _ in range(STEPS):
        next(steps)
    return 1000 * (time.perf_counter() - began) / STEPS


def measured(policy: dict[str, str], processes: int) -> list[list[float]]:
    """What each of several processes at once found."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--timed"],
            env=clean | policy,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    return [[float(number) for number in one.communicate()[0].split()] for one in running]


def main() -> None:
    """Print a line for each way of waiting, in turns over the rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timed", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.timed:
        print(*timed())
        return
    found: dict[tuple[str, int], list[list[float]]] = {}
    for _ in range(args.rounds):
        for name, policy in POLICIES.items():
            for processes in (1, 2):
                found.setdefault((name, processes), []).extend(measured(policy, processes))
    print("| threads | a step of stage 1, stage 2: alone | two processes at once |")
    print("| --- | --- | --- |")
    for name in POLICIES:
        cells = (_cell(found[name, processes]) for processes in (1, 2))
        print(f"| {name} | {' | '.join(cells)} |")


def _cell(times: list[list[float]]) -> str:
    return ", ".join(
        f"{median(stage):.0f} ms ({min(stage):.0f} to {max(stage):.0f})"
        for stage in zip(*times, strict=True)
    )


if __name__ == "__main__":
    main()
