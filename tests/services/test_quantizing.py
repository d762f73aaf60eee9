"""Quantized copies: what is refused before a download, where they lie, and who reads them.

bitsandbytes quantizes on CUDA only (tests/gpu); here weights in bf16 stand in for its.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prism_cli import paths, runtime
from prism_cli.backbones import catalog, fitting, hub_cache, quantized_copies
from prism_cli.backbones.flux import FluxBackbone
from prism_cli.errors import BaseRefused, DiskFull, OptionRefused, PrismError
from prism_cli.runtime import Machine, Quantization
from prism_cli.services import bases, quantizing
from prism_cli.services.bases import list_bases
from prism_cli.services.memory_plan import footprint_of
from prism_cli.services.quantizing import pull_quantized
from tests.bases import CPU
from tests.hub import Hub, connected, serving
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipeline import save_tiny_pipeline

FLUX, UNET = "tiny/flux", "tiny/sd"
CUDA = Machine(
    kind="cuda",
    memory=24 << 30,
    free=24 << 30,
    ram=64 << 30,
    ram_free=64 << 30,
    bf16=True,
    bitsandbytes=True,
)
NF4 = replace(CPU, dtype=torch.bfloat16, text_dtype=torch.bfloat16, quantization=Quantization.NF4)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with a FLUX and a UNet, and a machine that says it can quantize."""
    monkeypatch.setattr(runtime, "machine", lambda: CUDA)
    monkeypatch.setattr(bases, "gpu_memory", lambda: CUDA.memory)
    monkeypatch.setattr(fitting, "quantized", lambda folder, runtime, settings: {})
    with serving(Hub()) as hub:
        hub.commit(FLUX, save_tiny_flux(tmp_path / "flux"))
        hub.commit(UNET, save_tiny_pipeline(tmp_path / "unet"))
        with connected(hub, tmp_path / "hf", monkeypatch):
            yield hub


@pytest.mark.parametrize(
    ("base", "machine", "error", "says"),
    [
        ("flux", replace(CUDA, kind="cpu"), OptionRefused, "NVIDIA GPU, and none was found"),
        (FLUX, replace(CUDA, kind="mps"), OptionRefused, "NVIDIA GPU, and none was found"),
        (FLUX, replace(CUDA, bf16=False), OptionRefused, "computes in bf16"),
        (FLUX, replace(CUDA, bitsandbytes=False), OptionRefused, "bitsandbytes, which is not"),
        ("sd15", CUDA, BaseRefused, "sd15 has a UNet"),
        ("mini", CUDA, BaseRefused, "a part of prism"),
    ],
)
def test_what_cannot_be_quantized_is_refused_before_a_request(
    hub: Hub,
    base: str,
    machine: Machine,
    error: type[PrismError],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the machine and by the base's kind; the Hub is not even asked."""
    monkeypatch.setattr(runtime, "machine", lambda: machine)

    with pytest.raises(error, match=says) as refused:
        pull_quantized(base, None, Quantization.NF4)

    assert refused.value.exit_status == 4 and refused.value.hint
    assert hub.requests == []


def test_a_repository_with_a_unet_costs_its_index_only(hub: Hub) -> None:
    """What kind of pipeline it has is known once that is read; also where it is here already."""
    with pytest.raises(BaseRefused, match="tiny/sd has a UNet"):
        pull_quantized(UNET, None, Quantization.INT8)
    assert hub.fetched() == {hub_cache.INDEX}

    bases_pulled = quantizing.pull(UNET)
    with pytest.raises(BaseRefused, match="tiny/sd has a UNet"):
        pull_quantized(UNET, None, Quantization.INT8)
    assert bases_pulled.folder.is_dir()


def test_a_copy_is_made_once_and_listed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two parts that change, beside the notes on bases, and no other part of the pipeline."""
    pulled = pull_quantized(FLUX, None, Quantization.NF4)

    assert pulled.quantized == paths.bases_dir() / f"{pulled.revision}-nf4"
    assert {path.name for path in pulled.quantized.iterdir()} == {"text_encoder_2", "transformer"}
    (row,) = [row for row in list_bases().bases if row.name == FLUX]
    assert row.quantized == {"nf4": quantized_copies.size(pulled.quantized)}
    monkeypatch.setattr(catalog, "keep_quantized", None)
    assert pull_quantized(FLUX, None, Quantization.NF4).quantized == pulled.quantized
    assert [path.name for path in paths.bases_dir().glob(".*")] == []


def test_the_copy_is_what_is_loaded(hub: Hub) -> None:
    """In the plan's quantization, and in no other; the other parts come from where they lie."""
    pulled = pull_quantized(FLUX, None, Quantization.NF4)
    entry = catalog.resolve(FLUX)
    theirs = catalog.load(entry, NF4)
    for part in ("text_encoder_2", "transformer"):
        for weights in (pulled.folder / part).glob("*.safetensors"):
            weights.unlink()

    ours = catalog.load(entry, NF4)

    assert isinstance(ours, FluxBackbone) and isinstance(theirs, FluxBackbone)
    assert ours.runtime.copy == pulled.quantized
    for model, other in (
        (ours.transformer, theirs.transformer),
        (ours.t5.encoder, theirs.t5.encoder),
    ):
        state = other.state_dict()
        assert all(torch.equal(w, state[name]) for name, w in model.state_dict().items())
    for way in (CPU, replace(NF4, quantization=Quantization.INT8)):
        with pytest.raises(BaseRefused, match="cannot load a FLUX base"):
            catalog.load(entry, way)
    assert footprint_of(entry).copies == {"nf4"}


def test_a_quantizing_that_fails_leaves_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base is here, whole, and there is no copy."""
    quantizing.pull(FLUX)

    def stop(entry: object, how: object, folder: Path) -> None:
        (folder / "transformer").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "keep_quantized", stop)
    with pytest.raises(KeyboardInterrupt):
        pull_quantized(FLUX, None, Quantization.NF4)
    assert [path.name for path in paths.bases_dir().iterdir()] == ["tiny--flux.json"]

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(DiskFull, match=r"has 0\.0 GB free, and the quantized weights"):
        pull_quantized(FLUX, None, Quantization.NF4)
