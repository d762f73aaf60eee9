"""What makes a denoiser faster and leaves what it computes as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo import lookup_backend
from torch.fx import GraphModule

from prism_cli.backbones import fitting
from prism_cli.backbones.unet import UNetBackbone
from prism_cli.errors import OptionRefused
from prism_cli.runtime import Runtime, check_compiler
from tests.bases import CPU, seeded
from tests.tiny_pipeline import save_tiny_pipeline, tiny_unet


def losses(folder: Path, runtime: Runtime) -> list[float]:
    """Of a base with one block of attention: without factors, then while they are trained."""
    base = UNetBackbone.load(folder, runtime)
    torch.manual_seed(1)
    unet = tiny_unet(
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), block_out_channels=(16,)
    )
    base.unet = fitting.fitted_denoiser(unet, runtime)
    with torch.no_grad():
        cond = base.encode_text([("a red dog",), ("a cat on snow",)], {})
    z_t, t = torch.randn(2, 4, 8, 8, generator=seeded(2)), torch.tensor([5, 900])

    def loss() -> torch.Tensor:
        return (base.predict(z_t, t, cond) - z_t).square().mean()

    with torch.no_grad():
        seen = [loss().item()]
    factors = base.add_lora(2, seeded(3))
    descent = torch.optim.AdamW(factors, lr=0.1)
    for _ in range(3):
        step = loss()
        seen.append(step.item())
        descent.zero_grad()
        step.backward()
        descent.step()
    return seen


def test_compiled_blocks_have_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block is captured without factors, and anew with them, its backward pass too.

    torch runs what it captured by its own kernels here: to make others takes a C++ compiler, and
    that a minute.
    """
    folder = save_tiny_pipeline(tmp_path / "tiny")
    graphs: list[bool] = []

    def kept(graph: GraphModule, inputs: Sequence[object]) -> Any:
        graphs.append("lora_A" in str([node.meta for node in graph.graph.nodes]))
        return lookup_backend("aot_eager")(graph, inputs)

    plain = losses(folder, CPU)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=kept))
    torch._dynamo.reset()
    compiled = losses(folder, replace(CPU, compiled=True))

    assert graphs == [False, True]
    assert len(set(plain)) == 3 and plain[0] == pytest.approx(plain[1], rel=1e-6)  # B = 0
    assert compiled == pytest.approx(plain, rel=1e-5)


def test_a_compiler_that_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a base is loaded, with what torch says of it and what it takes."""

    def broken(*args: object, **options: object) -> object:
        raise RuntimeError("No working C++ compiler found\nin a list of them")

    monkeypatch.setattr(torch, "compile", broken)

    with pytest.raises(
        OptionRefused, match=r"on this machine: No working C\+\+ compiler found$"
    ) as e:
        check_compiler(torch.device("cpu"))

    assert "a C++ compiler such as g++" in e.value.hint and "leave --compile out" in e.value.hint


@pytest.fixture
def _as_torch_comes() -> Iterator[None]:
    """Before and after."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.enable_cudnn_sdp(True)
    yield
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.enable_cudnn_sdp(True)


@pytest.mark.usefixtures("_as_torch_comes")
@pytest.mark.parametrize(("device", "fast"), [("cuda", True), ("cpu", False), ("mps", False)])
def test_fast_kernels_are_for_cuda(device: str, fast: bool) -> None:
    """TF32 for products, convolutions in channels-last, no cuDNN attention; the same prediction."""
    unet = tiny_unet().eval()
    inputs = torch.randn(1, 4, 8, 8, generator=seeded(1)), torch.tensor(5)
    text = torch.randn(1, 6, 16, generator=seeded(2))
    with torch.no_grad():
        before = unet(*inputs, encoder_hidden_states=text).sample
        fitting.use_fast_kernels(unet, torch.device(device))
        after = unet(*inputs, encoder_hidden_states=text).sample

    assert torch.backends.cuda.matmul.allow_tf32 is fast
    assert torch.backends.cuda.cudnn_sdp_enabled() is not fast
    assert unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last) is fast
    torch.testing.assert_close(after, before)
