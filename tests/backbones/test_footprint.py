"""What a base takes, by its configs, against real models: counts exactly, activations nearly."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from prism_cli.backbones.base import Conditioning, SamplingPlan
from prism_cli.backbones.flux import FluxBackbone
from prism_cli.backbones.footprint import Footprint, Part
from prism_cli.backbones.meter import measure
from prism_cli.backbones.sdxl import SDXLBackbone
from prism_cli.backbones.unet import UNetBackbone
from prism_cli.errors import BaseRefused
from prism_cli.runtime import Runtime
from tests.bases import CPU, mini, seeded
from tests.full_size import PARTS, save_configs
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipeline import FAMILY, SIZE, pipeline_in

KINDS: dict[str, Callable[[Path], Path]] = {**FAMILY, "flux": save_tiny_flux}
ADAPTERS: dict[str, Any] = {"sdxl": SDXLBackbone, "flux": FluxBackbone}

# The CPU's attention holds what the meter's does; what differs are a few numbers a layer.
NEARLY = 0.1

# The denoisers and text encoders as their publishers count them.
PUBLISHED = {
    "sd15": {"text_encoder": 123_060_480, "unet": 859_520_964, "vae": 83_653_863},
    "sd21": {"text_encoder": 340_387_840, "unet": 865_910_724, "vae": 83_653_863},
    "sdxl": {
        "text_encoder": 123_060_480,
        "text_encoder_2": 694_659_840,
        "unet": 2_567_463_684,
        "vae": 83_653_863,
    },
    "flux": {
        "text_encoder": 123_060_480,
        "text_encoder_2": 4_762_310_656,
        "transformer": 11_901_408_320,
        "vae": 83_819_683,
    },
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny pipeline of every kind."""
    return {kind: save(tmp_path_factory.mktemp(kind)) for kind, save in KINDS.items()}


def load(kind: str, folders: dict[str, Path], runtime: Runtime = CPU) -> Any:
    return ADAPTERS.get(kind, UNetBackbone).load(folders[kind], runtime)


def denoiser(base: Any) -> nn.Module:
    model: nn.Module = base.transformer if isinstance(base, FluxBackbone) else base.unet
    return model


def question(base: Any, count: int = 1) -> tuple[Tensor, Tensor, Conditioning]:
    """Noisy latents, times and conditions with a gradient."""
    cond = base.encode_text([("a dog",), ("a cat on snow",)][:count], {})
    learned = {name: tensor.detach().requires_grad_() for name, tensor in cond.tensors.items()}
    z_t = base.initial_noise((SIZE, SIZE), range(count))
    return z_t, base.spread_times(count), Conditioning(learned)


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_those_of_the_loaded_pipeline(kind: str, folders: dict[str, Path]) -> None:
    """Every part, by its folder's name, a tied matrix once."""
    pipeline = pipeline_in(folders[kind])

    parts = Footprint(folders[kind]).parts

    assert {name: part.parameters for name, part in parts.items()} == {
        name: sum(weight.numel() for weight in model.parameters())
        for name, model in pipeline.components.items()
        if isinstance(model, nn.Module)
    }


@pytest.mark.parametrize("kind", PARTS)
def test_parameters_of_the_published_bases(kind: str, tmp_path: Path) -> None:
    """From their configs, without a weight."""
    parts = Footprint(save_configs(kind, tmp_path)).parts

    assert {name: part.parameters for name, part in parts.items()} == PUBLISHED[kind]


def test_bytes_of_a_part() -> None:
    """A 128x64 matrix and 100 other numbers, counted by hand."""
    part = Part(name="x", parameters=8192 + 100, linear=8192, rows=128, largest=8192)

    assert part.bytes("fp32") == 8292 * 4
    assert part.bytes("bf16") == 8292 * 2
    assert part.bytes("int8") == 8192 + 128 * 4 + 100 * 2
    assert part.bytes("nf4") == 4096 + (8192 // 64) * 4 + 100 * 2


def held_by_the_graph(model: nn.Module, call: Callable[[], Tensor]) -> int:
    """Bytes that autograd saves in a real forward pass, the weights apart."""
    weights = {w.untyped_storage().data_ptr() for w in (*model.parameters(), *model.buffers())}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = call()
    assert out.requires_grad
    return sum(s.nbytes() for pointer, s in storages.items() if pointer not in weights)


@pytest.mark.parametrize("training", ["tokens", "lora"])
@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
def test_activations_are_what_a_real_run_holds(
    kind: str, training: str, folders: dict[str, Path]
) -> None:
    """Saved against autograd's own count; the peak against the same meter on real tensors."""
    base = load(kind, folders)
    z_t, t, cond = question(base)
    if training == "lora":
        cond = Conditioning({name: tensor.detach() for name, tensor in cond.tensors.items()})
        base.add_lora(4, seeded(0))
    call = partial(base.predict, z_t, t, cond)

    cost = Footprint(folders[kind]).denoise((SIZE, SIZE), "fp32", training)

    assert cost.saved == pytest.approx(held_by_the_graph(denoiser(base), call), rel=NEARLY)
    real = measure(denoiser(base), call, gradient=True, fused=False)
    assert cost.peak == pytest.approx(real.peak, rel=NEARLY)
    assert cost.trainable == real.trainable == (0 if training == "tokens" else cost.trainable)


@pytest.mark.parametrize("training", ["tokens", "lora"])
@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
def test_checkpointing_lowers_the_estimate(
    kind: str, training: str, folders: dict[str, Path]
) -> None:
    """A block's input is held in the place of all that it computes."""
    footprint = Footprint(folders[kind])

    plain = footprint.denoise((SIZE, SIZE), "fp32", training)
    again = footprint.denoise((SIZE, SIZE), "fp32", training, checkpointing=True)

    assert again.saved < 0.7 * plain.saved
    assert again.peak < plain.peak
    assert again.flops == plain.flops > 0  # of the forward pass


def test_attention_without_a_fused_kernel_holds_every_pair(folders: dict[str, Path]) -> None:
    """Twice the side is 16 times the pairs; fused, it is four times the tokens."""
    footprint = Footprint(folders["sd15"])
    grows = {
        fused: footprint.denoise((8 * SIZE, 8 * SIZE), "fp32", "tokens", fused=fused).saved
        / footprint.denoise((4 * SIZE, 4 * SIZE), "fp32", "tokens", fused=fused).saved
        for fused in (True, False)
    }

    assert grows[True] == pytest.approx(4, rel=NEARLY)
    assert grows[False] > 8


@pytest.mark.parametrize("kind", KINDS)
def test_every_half_of_every_part_can_be_measured(kind: str, folders: dict[str, Path]) -> None:
    """Encoders of text and pictures, with a gradient and without."""
    footprint = Footprint(folders[kind])

    for name in footprint.texts:
        read = footprint.read(name, "fp32", gradient=True)
        assert 0 < read.saved <= read.peak
        assert footprint.read(name, "bf16", gradient=False).peak < read.peak
    assert footprint.encode((SIZE, SIZE)).peak > 3 * SIZE * SIZE * 4
    assert footprint.decode((SIZE, SIZE)).peak > 3 * SIZE * SIZE * 4


def test_the_practice_base_has_one_too() -> None:
    """Its autoencoder is of another class."""
    footprint = Footprint(mini_folder())

    assert footprint.parts["unet"].parameters == sum(w.numel() for w in mini().unet.parameters())
    assert footprint.size_multiple() == 16
    assert footprint.encode((64, 64)).peak and footprint.decode((64, 64)).peak


def mini_folder() -> Path:
    from prism_cli.backbones import catalog

    return catalog.resolve("mini").folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_is_a_multiple(kind: str, folders: dict[str, Path]) -> None:
    """Known before a weight is read: of a cell, as often as a UNet halves; of a token's two."""
    assert Footprint(folders[kind]).size_multiple() == 4


FITTED = {
    "checkpointing": Runtime(CPU.device, CPU.dtype, checkpointing=True),
    "micro-batches": Runtime(CPU.device, CPU.dtype, micro_batch=1),
    "both": Runtime(CPU.device, CPU.dtype, checkpointing=True, micro_batch=1),
    "parked": Runtime(CPU.device, CPU.dtype, vae_parked=True),
}
# fp32 rounding is 6e-8; a batch of one adds the products of a layer in another order.
ANOTHER_ORDER = 1e-4


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
def test_fitting_changes_no_prediction_and_no_gradient(
    kind: str, name: str, folders: dict[str, Path]
) -> None:
    """Of the conditions, which stage 1 needs, and of the factors, which stage 2 needs."""
    found = []
    for runtime in (CPU, FITTED[name]):
        base = load(kind, folders, runtime)
        z_t, t, cond = question(base, 2)
        factors = base.add_lora(4, seeded(0))
        prediction = base.predict(z_t, t, cond)
        prediction.square().mean().backward()
        learned = [*cond.tensors.values(), *factors]
        found.append([prediction.detach(), *(tensor.grad for tensor in learned)])

    for plain, fitted in zip(*found, strict=True):
        torch.testing.assert_close(fitted, plain, rtol=ANOTHER_ORDER, atol=ANOTHER_ORDER)
    assert any(tensor.abs().max() > 0 for tensor in found[0][1:])


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
def test_micro_batches_draw_the_same(kind: str, folders: dict[str, Path]) -> None:
    """Where each sample has its own time, and where a sampler gives all of them one."""
    plain, fitted = load(kind, folders), load(kind, folders, FITTED["micro-batches"])
    z_t, t, cond = question(plain, 2)
    plan = SamplingPlan(steps=2, guidance=3.0, size=(SIZE, SIZE))

    with torch.no_grad():
        ours, whole = fitted.predict(z_t, t, cond), plain.predict(z_t, t, cond)
        null = plain.encode_text([(), ()], {})
        *_, drawn = fitted.sample(cond, null, z_t, plan)
        *_, expected = plain.sample(cond, null, z_t, plan)

    torch.testing.assert_close(ours, whole, rtol=0, atol=ANOTHER_ORDER)
    torch.testing.assert_close(drawn, expected, rtol=ANOTHER_ORDER, atol=ANOTHER_ORDER)


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
def test_released_text_encoders_are_gone(kind: str, folders: dict[str, Path]) -> None:
    """Nothing holds their weights any more, and what was encoded is still drawn."""
    base = load(kind, folders)
    z_t, t, cond = question(base)
    encoders = (
        [base.clip.encoder, base.t5.encoder]
        if isinstance(base, FluxBackbone)
        else [clip.encoder for clip in base.clips]
    )
    weights = [weakref.ref(weight) for encoder in encoders for weight in encoder.parameters()]
    del encoders

    base.release_text_encoders()

    gc.collect()
    assert weights and not any(weight() is not None for weight in weights)
    assert base.predict(z_t, t, cond).isfinite().all()


def test_a_folder_without_configs_is_refused(tmp_path: Path) -> None:
    """One sentence, and what mends it."""
    save_configs("sd15", tmp_path)
    (tmp_path / "unet" / "config.json").unlink()

    with pytest.raises(BaseRefused, match=str(tmp_path)):
        Footprint(tmp_path)


def test_a_config_that_describes_nothing_is_refused(tmp_path: Path) -> None:
    """Whatever the library says of it."""
    save_configs("sd15", tmp_path)
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"layers_per_block": "two"}))

    with pytest.raises(BaseRefused, match="unet that cannot be built"):
        Footprint(tmp_path).build("unet")
