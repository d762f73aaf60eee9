"""How a base is fitted to a machine: any base, any machine, no weights and no device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from prism_cli.backbones.footprint import Footprint, Part
from prism_cli.backbones.meter import Cost
from prism_cli.errors import TooLarge
from prism_cli.runtime import Machine, Quantization
from prism_cli.services.memory_needs import Way, Work
from prism_cli.services.memory_plan import EXTRA, choose, ways
from prism_cli.settings import Recipe
from tests.full_size import SIZES, save_configs

GB = 1_000_000_000
GIB = 2**30


@dataclass
class Recorded:
    """What `Footprint` measures on a published base's configs, to three figures.

    costs: MB of a sample in bf16 that a graph holds, and at the peak, by what is trained and
    whether blocks are checkpointed. texts: MB of a prompt in fp32. In fp32 all of it counts double,
    and five times where every pair of attention is written out.
    """

    denoiser: str
    parts: Mapping[str, Part]
    costs: Mapping[tuple[str, bool], tuple[float, float]]
    prompts: Mapping[str, float]
    trainable: int
    quantized_texts: tuple[str, ...] = ()
    passes: int = 2
    prompt_size: int = 77 * 2048
    kept: Quantization | None = None
    copies: frozenset[Quantization] = frozenset()
    texts: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.texts = tuple(self.prompts)

    @property
    def quantizable(self) -> bool:
        return self.denoiser == "transformer"

    def denoise(
        self,
        size: tuple[int, int],
        precision: str,
        training: str,
        *,
        checkpointing: bool = False,
        rank: int = 4,
        fused: bool = True,
    ) -> Cost:
        larger = (2e6 if precision == "fp32" else 1e6) * (1 if fused else 5)
        saved, peak = self.costs[training, checkpointing]
        trainable = self.trainable if training == "lora" else 0
        return Cost(int(saved * larger), int(peak * larger), 10**12, 500_000, trainable)

    def read(self, name: str, precision: str, *, gradient: bool, fused: bool = True) -> Cost:
        peak = int(self.prompts[name] * (1e6 if precision == "fp32" else 0.5e6))
        return Cost(peak if gradient else 0, peak, 10**10)

    def encode(self, size: tuple[int, int], *, fused: bool = True) -> Cost:
        return Cost(0, 2560 * size[0] * size[1], 10**12)

    def decode(self, size: tuple[int, int], *, fused: bool = True) -> Cost:
        return Cost(0, 3072 * size[0] * size[1], 10**12)


def part(name: str, parameters: int, linear: int, largest: int = 0) -> Part:
    return Part(
        name=name, parameters=parameters, linear=linear, rows=linear // 2000, largest=largest
    )


CLIP_L = part("text_encoder", 123_060_480, 84_934_656)
VAE = part("vae", 83_653_863, 2_097_152)
RECORDED = {
    "sd15": Recorded(
        denoiser="unet",
        parts={
            "text_encoder": CLIP_L,
            "unet": part("unet", 859_520_964, 270_049_280),
            "vae": VAE,
        },
        costs={
            ("nothing", False): (0, 68.3),
            ("tokens", False): (738, 764),
            ("tokens", True): (147, 226),
            ("lora", False): (1039, 1065),
            ("lora", True): (147, 258),
        },
        prompts={"text_encoder": 43.6},
        trainable=797_184,
    ),
    "sdxl": Recorded(
        denoiser="unet",
        parts={
            "text_encoder": CLIP_L,
            "text_encoder_2": part("text_encoder_2", 694_659_840, 630_784_000),
            "unet": part("unet", 2_567_463_684, 2_232_647_680),
            "vae": VAE,
        },
        costs={
            ("nothing", False): (0, 166),
            ("tokens", False): (5306, 5347),
            ("tokens", True): (504, 609),
            ("lora", False): (7781, 7844),
            ("lora", True): (464, 582),
        },
        prompts={"text_encoder": 43.6, "text_encoder_2": 131},
        trainable=5_806_080,
    ),
    "flux": Recorded(
        denoiser="transformer",
        parts={
            "text_encoder": CLIP_L,
            "text_encoder_2": part("text_encoder_2", 4_762_310_656, 3_623_878_656, 41_943_040),
            "transformer": part("transformer", 11_901_408_320, 11_898_322_944, 56_623_104),
            "vae": VAE,
        },
        costs={
            ("nothing", False): (0, 117),
            ("tokens", False): (6200, 6274),
            ("tokens", True): (401, 577),
            ("lora", False): (7739, 7826),
            ("lora", True): (394, 611),
        },
        prompts={"text_encoder": 43.6, "text_encoder_2": 650},
        trainable=6_537_216,
        quantized_texts=("text_encoder_2",),
        passes=1,
        prompt_size=77 * (768 + 4096),
    ),
}


def footprint(kind: str, **changes: Any) -> Footprint:
    return cast(Footprint, replace_recorded(RECORDED[kind], **changes))


def replace_recorded(recorded: Recorded, **changes: Any) -> Recorded:
    fresh = replace(recorded)
    for name, value in changes.items():
        setattr(fresh, name, value)
    return fresh


def card(memory: float, ram: int = 64, *, bitsandbytes: bool = True) -> Machine:
    """An NVIDIA card of so many GiB, of which a desktop and CUDA itself take 0.6."""
    return Machine(
        kind="cuda",
        memory=int(memory * GIB),
        free=int((memory - 0.6) * GIB),
        ram=ram * GIB,
        ram_free=(ram - 3) * GIB,
        bf16=True,
        bitsandbytes=bitsandbytes,
    )


def shared(kind: str, memory: int, free: float) -> Machine:
    """A machine whose device has no memory of its own."""
    return Machine(
        kind=kind,
        memory=memory * GIB,
        free=int(free * GIB),
        ram=memory * GIB,
        ram_free=int(free * GIB),
        bf16=False,
        bitsandbytes=False,
    )


MACHINES = {
    "8 GB": card(8, ram=32),
    "12 GB": card(12),
    "24 GB": card(24),
    "80 GB": card(80, ram=128),
    "MPS 16 GB": shared("mps", 16, 11.5),  # Metal lets a process have about 72 %
    "CPU 20 GB": shared("cpu", 20, 18),
}


def training(kind: str) -> Work:
    """The default recipe, on five photos."""
    return Work(size=(SIZES[kind], SIZES[kind]), recipe=Recipe(), photos=5)


def drawing(kind: str, pictures: int = 4) -> Work:
    return Work(size=(SIZES[kind], SIZES[kind]), recipe=Recipe(), pictures=pictures)


WHOLE: dict[str, Any] = {"quantization": None, "checkpointing": False, "text": "fp32"}


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        # 1.7 GB of UNet, and 1.1 GB of activations for each of four samples.
        *(("sd15", name, WHOLE) for name in ("8 GB", "12 GB", "24 GB", "80 GB", "CPU 20 GB")),
        # In fp32 and with every pair of attention in memory, four samples are 20 GB.
        ("sd15", "MPS 16 GB", {"precision": "fp32", "checkpointing": True}),
        # UNet and text encoders are 8.4 GB together, the autoencoder's activations 2.7.
        ("sdxl", "8 GB", {"text_on_cpu": True, "vae_tiled": True, "checkpointing": True}),
        ("sdxl", "12 GB", {"text": "bf16", "vae_parked": True, "checkpointing": True}),
        # Four samples of 7.8 GB do not fit; of 0.6 they do.
        ("sdxl", "24 GB", WHOLE | {"checkpointing": True, "micro_batch": 4}),
        ("sdxl", "80 GB", WHOLE | {"micro_batch": None}),
        ("sdxl", "MPS 16 GB", None),  # 14 GB of weights in fp32
        ("sdxl", "CPU 20 GB", {"precision": "fp32", "checkpointing": True}),
        ("flux", "8 GB", None),  # 6.7 GB of weights in nf4, and what a sample takes
        # 6.7 + 4.3 GB of weights in nf4: T5 has to leave.
        ("flux", "12 GB", {"quantization": Quantization.NF4, "text_on_cpu": True}),
        ("flux", "24 GB", {"quantization": Quantization.INT8, "checkpointing": True}),
        ("flux", "80 GB", WHOLE),  # 24 + 19 GB of weights and 31 of activations
        ("flux", "MPS 16 GB", None),
        ("flux", "CPU 20 GB", None),
    ],
)
def test_a_base_on_a_machine(kind: str, name: str, expected: dict[str, Any] | None) -> None:
    """What is chosen for a training, or None where it is refused."""
    if expected is None:
        with pytest.raises(TooLarge, match="does not fit this machine") as caught:
            choose(footprint(kind), MACHINES[name], training(kind))
        assert caught.value.hint
        return

    plan = choose(footprint(kind), MACHINES[name], training(kind))

    assert {option: getattr(plan.way, option) for option in expected} == expected
    assert plan.device_bytes <= MACHINES[name].free
    assert plan.ram_bytes <= MACHINES[name].ram_free
    assert set(plan.phases) == {"photos", "tokens", "lora", "drawing", "decoding"}


@pytest.mark.parametrize("work", [training, drawing])
@pytest.mark.parametrize("kind", RECORDED)
def test_more_memory_never_gives_a_worse_way(kind: str, work: Any) -> None:
    """From 2 to 100 GB: the place in the order of preference only falls, and each plan fits."""
    places = []
    for memory in range(2, 101, 2):
        machine = card(memory, ram=128)
        order = list(ways(footprint(kind), machine, work(kind)))
        try:
            plan = choose(footprint(kind), machine, work(kind))
        except TooLarge:
            places.append(len(order))
            continue
        assert plan.device_bytes <= machine.free
        places.append(order.index(plan.way))

    assert places == sorted(places, reverse=True)
    assert places[0] > places[-1] == 0


def test_each_choice_is_explained_by_what_would_be_short_without_it() -> None:
    """In gigabytes: of the phase, and of what is free."""
    machine = card(24)

    plan = choose(footprint("sdxl"), machine, training("sdxl"))

    (sentence,) = plan.decided  # micro-batches of the whole batch cost nothing and are not told
    assert sentence.startswith("gradient checkpointing: otherwise 'lora' takes 4")
    assert f"and {machine.free / GB:.1f} GB are free" in sentence
    assert choose(footprint("sdxl"), card(80), training("sdxl")).decided == ()


def test_without_bitsandbytes_the_plan_does_without_and_says_so() -> None:
    """What installing it would bring, where a plan had to spare, and where there is none."""
    plan = choose(footprint("flux"), card(48, bitsandbytes=False), training("flux"))

    assert plan.way.quantization is None and plan.way.checkpointing
    assert EXTRA in plan.decided[-1]
    with pytest.raises(TooLarge) as caught:
        choose(footprint("flux"), card(24, bitsandbytes=False), training("flux"))
    assert EXTRA in caught.value.hint
    with pytest.raises(TooLarge, match="does not fit") as caught:
        choose(footprint("flux"), MACHINES["CPU 20 GB"], training("flux"))
    assert "NVIDIA" in caught.value.hint


@pytest.mark.parametrize("machine", [MACHINES["CPU 20 GB"], card(24, bitsandbytes=False)])
def test_quantized_weights_are_refused_where_nothing_can_use_them(machine: Machine) -> None:
    """Before anything is loaded."""
    with pytest.raises(TooLarge, match="kept in nf4, which takes an NVIDIA GPU and bitsandbytes"):
        choose(footprint("flux", kept=Quantization.NF4), machine, training("flux"))


@pytest.mark.parametrize("kept", Quantization)
def test_quantized_weights_stay_as_they_are_kept(kept: Quantization) -> None:
    """However much memory there is: the whole ones are not on disk."""
    plan = choose(footprint("flux", kept=kept), card(80, ram=128), training("flux"))

    assert plan.way.quantization is kept


def test_a_copy_is_read_without_what_quantizing_takes() -> None:
    """The same way in less RAM, and said so; a copy in int8 is not one in nf4."""
    plans = [
        choose(replaced(copies), card(16, ram=64), training("flux"))
        for copies in ((), (Quantization.NF4,), (Quantization.INT8,))
    ]

    without, read, other = plans
    assert without.way == read.way == other.way
    assert without.way.quantization is Quantization.NF4
    assert read.ram_bytes < without.ram_bytes == other.ram_bytes
    said = [[line for line in plan.decided if "weights in nf4" in line] for plan in plans]
    assert ["from the copy that is kept" in line for (line,) in said] == [False, True, False]


def replaced(copies: Sequence[Quantization]) -> Footprint:
    """FLUX's, with these copies."""
    flux = cast(Any, footprint("flux"))
    return cast(Footprint, replace(flux, copies=frozenset(copies)))


def test_a_small_size_is_drawn_where_a_large_one_is_not() -> None:
    """The hint of the refusal names the option that mends it."""
    machine = card(9, ram=64)

    with pytest.raises(TooLarge, match="does not fit") as caught:
        choose(footprint("flux"), replace(machine, free=7 * GB), drawing("flux"))

    assert "--size" in caught.value.hint
    assert choose(footprint("sd15"), machine, drawing("sd15", 1)).device_bytes < machine.free


def test_the_adapters_are_told_what_was_chosen() -> None:
    """Every choice of a way has its place in the runtime."""
    plan = choose(footprint("sdxl"), MACHINES["8 GB"], training("sdxl"))

    runtime = plan.runtime(torch.device("cuda"))

    assert (runtime.device.type, runtime.dtype) == ("cuda", torch.bfloat16)
    assert runtime.text_device == torch.device("cpu") and runtime.text_dtype == torch.float32
    assert runtime.checkpointing and runtime.vae_parked and runtime.vae_tiled
    assert runtime.micro_batch == plan.way.micro_batch
    assert Way(precision="bf16") == next(
        ways(footprint("sdxl"), MACHINES["8 GB"], training("sdxl"))
    )


@pytest.mark.parametrize("kind", RECORDED)
def test_what_is_recorded_is_what_is_measured(kind: str, tmp_path: Path) -> None:
    """A forward pass of the published size, on no device."""
    measured = Footprint(save_configs(kind, tmp_path))
    recorded, size = RECORDED[kind], (SIZES[kind], SIZES[kind])

    cost = measured.denoise(size, "bf16", "nothing")

    assert cost.peak == pytest.approx(recorded.denoise(size, "bf16", "nothing").peak, rel=0.02)
    found = measured.parts[recorded.denoiser]
    assert found.linear == recorded.parts[recorded.denoiser].linear
    assert measured.quantizable == recorded.quantizable
    assert measured.quantized_texts == recorded.quantized_texts
