"""A training step that is done again from a CUDA graph is the step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mini import training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def moved(path: Path, batches: list[Tensor], *, recorded: bool) -> nn.Module:
    """A small net after a run over the batches, at a rate that rises."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.SiLU(), nn.Conv2d(16, 4, 1)).to("cuda")
    run = training.Run(net, training.muon(net, 1e-1), path, steps=len(batches), minutes=1.0)

    def update(x: Tensor) -> Tensor:
        loss = (net(x) - 1).square().mean()
        run.update(loss)
        return loss.detach()

    step = training.Recorded(update) if recorded else update
    for k in run.steps_left(lambda: ""):
        for _ in range(1 if recorded or k else 1 + training.BEFORE_RECORDING):
            step(batches[k])
    return net


def test_a_recorded_step_is_the_step(tmp_path: Path) -> None:
    """Each batch and each rate are those of the call, not those of the recording."""
    batches = [torch.randn(8, 3, 9, 9, device="cuda") for _ in range(4)]

    ours = moved(tmp_path / "ours.pt", batches, recorded=True)
    theirs = moved(tmp_path / "theirs.pt", batches, recorded=False)

    for recorded, done in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(recorded, done, rtol=1e-3, atol=1e-4)
