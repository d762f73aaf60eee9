"""A training step that is done again from a CUDA graph is the step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mini import training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
BEFORE = 3  # steps that are done on the first inputs before the recording


def moved(batches: list[Tensor], *, recorded: bool) -> nn.Module:
    """A small net after Muon and AdamW on the batches, at a rate that falls."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.SiLU(), nn.Conv2d(16, 4, 1)).to("cuda")
    optimizers = training.muon(net, 1e-2)

    def step(x: Tensor) -> Tensor:
        loss = (net(x) - 1).square().mean()
        net.zero_grad(set_to_none=True)
        loss.backward()
        for each in optimizers:
            each.step()
        return loss.detach()

    call = training.Recorded(step) if recorded else step
    for k, x in enumerate(batches):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"].fill_(1e-2 / (k + 1))
        for _ in range(1 if recorded or k else 1 + BEFORE):
            call(x)
    return net


def test_a_recorded_step_is_the_step() -> None:
    """Each batch and each rate are those of the call, not those of the recording."""
    batches = [torch.randn(8, 3, 9, 9, device="cuda") for _ in range(4)]

    ours, theirs = moved(batches, recorded=True), moved(batches, recorded=False)

    for recorded, done in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(recorded, done, rtol=1e-3, atol=1e-4)
