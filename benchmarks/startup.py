"""How long `prism list` takes with 100 archives, as a whole process.

    python benchmarks/startup.py

Prints the median, least and most of `RUNS` runs in ms, beside a bare interpreter's in the same run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save

from prism_cli.registry.archive import pack
from prism_cli.registry.manifest import BaseRef, LoraSpec, Manifest, OptionValue, PhotoRecord

RUNS = 5
ARCHIVES = 100
RANK, WIDTH, PHOTOS, CAPTION_TOKENS = 4, 256, 5, 20  # as a concept on the practice base has them


def archive(name: str) -> bytes:
    """An archive with a manifest as long as a real one's."""
    manifest = Manifest(
        name=name,
        kind="subject",
        created="2026-01-31T12:00:00Z",
        prism_version="0.1.0",
        base=BaseRef(id="mini", revision="0123456789ab", parameterization="v"),
        token_length=1,
        residual_lengths={"clip_l": (CAPTION_TOKENS,) * PHOTOS},
        lora=LoraSpec(rank=RANK, alpha=RANK, targets=("to_q", "to_k", "to_v", "to_out.0")),
        options={f"tokens.option{k}": OptionValue(value=k, source="default") for k in range(30)},
        seed=0,
        photos=tuple(
            PhotoRecord(
                sha256=f"{k:064x}", caption="a dog on a sofa " * 5, caption_source="sidecar"
            )
            for k in range(PHOTOS)
        ),
        metrics={"tokens.steps": 150, "tokens.first": 0.7, "tokens.last": 0.2},
    )
    layer = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    return pack(
        manifest,
        {
            "tokens.safetensors": save({"target.clip_l": torch.zeros(1, WIDTH)}),
            "residuals.safetensors": save(
                {f"residual.{i}.clip_l": torch.zeros(CAPTION_TOKENS, WIDTH) for i in range(PHOTOS)}
            ),
            "lora.safetensors": save(
                {
                    f"{layer}.lora_A.weight": torch.zeros(RANK, WIDTH),
                    f"{layer}.lora_B.weight": torch.zeros(WIDTH, RANK),
                }
            ),
        },
    )


def milliseconds(command: list[str], home: Path) -> list[float]:
    """The wall time of each of `RUNS` runs, after one that fills the disk cache."""
    environment = os.environ | {"PRISM_HOME": str(home)}
    times = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - began) * 1000)
    return times[1:]


def main() -> None:
    """Build a registry, time both commands, print a line each."""
    with tempfile.TemporaryDirectory() as folder:
        concepts = Path(folder) / "concepts"
        concepts.mkdir()
        for k in range(ARCHIVES):
            (concepts / f"concept{k:03}.prism").write_bytes(archive(f"concept{k:03}"))
        prism = str(Path(sys.executable).with_name("prism"))
        for title, command in (
            ("python -c pass", [sys.executable, "-c", "pass"]),
            (f"prism list, {ARCHIVES} archives", [prism, "list"]),
        ):
            times = milliseconds(command, Path(folder))
            print(
                f"{title:28} median {statistics.median(times):6.0f} ms  "
                f"({min(times):.0f} to {max(times):.0f}, {RUNS} runs)"
            )


if __name__ == "__main__":
    main()
