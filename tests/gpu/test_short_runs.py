"""One short real run for each kind of base on a GPU, quantized where its adapter can."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from prism_cli.backbones import catalog, quantized_copies
from prism_cli.backbones.base import Backbone
from prism_cli.runtime import Quantization, Runtime
from prism_cli.services.events import ignore
from prism_cli.services.preview import draw_preview, preview_prompts
from prism_cli.services.training_run import TrainingRun
from prism_cli.settings import DrawingOptions, FinetuneOptions, Recipe, TokenOptions
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipeline import FAMILY, SIZE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

BASES: dict[str, Callable[[Path], Path]] = {**FAMILY, "flux": save_tiny_flux}
RECIPE = Recipe(
    tokens=TokenOptions(steps=3, batch=1, anchors=1),
    finetuning=FinetuneOptions(steps=3, batch=2),
    drawing=DrawingOptions(steps=2),
)
quantizes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: prism[flux]"
)


def short_run(folder: Path, place: Path, runtime: Runtime) -> None:
    """Both stages and a preview; every loss is finite, and the LoRA has moved."""
    entry = catalog.resolve(str(folder))
    base: Backbone = catalog.load(entry, runtime)
    run = TrainingRun(
        backbone=base,
        z_0=base.encode_images(torch.zeros(2, 3, SIZE, SIZE))[:, None],
        name="x",
        captions=["a red dog", "a cat on snow"],
        start=None,
        recipe=RECIPE,
        seed=0,
        lora_seed=1,
        checkpoint_path=place / "checkpoint",
        created="2026-01-31T12:00:00Z",
        on_event=ignore,
        previews=preview_prompts(entry, "x"),
    )

    trained = run.run()

    assert {outcome.steps for outcome in trained.outcomes.values()} == {3}
    assert all(factor.any() for key, factor in trained.lora.items() if ".lora_B." in key)
    assert draw_preview(base, trained.previews, entry, ignore).startswith(b"\x89PNG")


@pytest.mark.parametrize("frugal", [False, True])
@pytest.mark.parametrize("kind", BASES)
def test_a_short_run_in_bf16(kind: str, frugal: bool, tmp_path: Path) -> None:
    """Everything on the device, and then as little there as can be."""
    runtime = Runtime(
        torch.device("cuda"),
        torch.bfloat16,
        text_device=torch.device("cpu") if frugal else None,
        checkpointing=frugal,
        micro_batch=1 if frugal else None,
        vae_parked=frugal,
        vae_tiled=frugal,
    )

    short_run(BASES[kind](tmp_path / "base"), tmp_path, runtime)


@pytest.mark.parametrize("kind", BASES)
def test_a_short_run_with_compiled_blocks(kind: str, tmp_path: Path) -> None:
    """By torch's own compiler, before and after factors are in the blocks."""
    runtime = Runtime(torch.device("cuda"), torch.bfloat16, compiled=True)

    short_run(BASES[kind](tmp_path / "base"), tmp_path, runtime)


@quantizes
@pytest.mark.parametrize("kind", Quantization)
def test_a_copy_is_what_is_quantized_at_load(kind: Quantization, tmp_path: Path) -> None:
    """It is smaller than the base, a run on it works, and it predicts the same to the bit."""
    runtime = Runtime(
        torch.device("cuda"), torch.bfloat16, text_dtype=torch.bfloat16, quantization=kind
    )
    folder = save_tiny_flux(tmp_path / "base")
    entry = catalog.resolve(str(folder))

    def predicted() -> torch.Tensor:
        base: Backbone = catalog.load(entry, runtime)
        with torch.no_grad():
            cond = base.encode_text([("a red dog",)], {})
            return base.predict(base.initial_noise((SIZE, SIZE), [0]), base.spread_times(1), cond)

    at_load = predicted()
    with quantized_copies.written(entry.revision, kind) as place:
        catalog.keep_quantized(entry, runtime, place)
    (copy,) = quantized_copies.found(entry.revision).values()

    assert torch.equal(predicted(), at_load)
    assert quantized_copies.size(copy) < sum(
        path.stat().st_size
        for part in ("text_encoder_2", "transformer")
        for path in (folder / part).iterdir()
    )
    short_run(folder, tmp_path, runtime)


@quantizes
@pytest.mark.parametrize("kind", Quantization)
def test_a_short_run_on_quantized_weights(kind: Quantization, tmp_path: Path) -> None:
    """FLUX and its T5, whose linear layers bitsandbytes replaces while they are read."""
    runtime = Runtime(
        torch.device("cuda"),
        torch.bfloat16,
        text_dtype=torch.bfloat16,
        quantization=kind,
        checkpointing=True,
    )

    short_run(save_tiny_flux(tmp_path / "base"), tmp_path, runtime)
