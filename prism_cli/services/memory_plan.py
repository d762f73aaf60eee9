"""A base is fitted to the machine before a weight is read: the first way that fits is taken.

The ways are in the order of what they cost, which does not depend on how much memory there is, so
that more of it never gives a worse one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypedDict

import torch

from prism_cli import runtime
from prism_cli.backbones import quantized_copies
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.backbones.footprint import DTYPES, Footprint
from prism_cli.errors import TooLarge
from prism_cli.runtime import Machine, Quantization, Runtime
from prism_cli.services.events import Note, OnEvent
from prism_cli.services.memory_needs import Need, Way, Work, needs

_ANYWHERE = 64 * 64**2  # pixels at once, with which the practice base takes at most 1.9 GB
EXTRA = "pip install 'prism-concepts[flux]'"

# What is printed for a choice, by the field of `Way`.
_SAID = {
    "vae_parked": "the autoencoder waits in RAM",
    "text": "text encoders in bf16",
    "quantization": "weights in {}",
    "vae_tiled": "the autoencoder works in tiles",
    "text_on_cpu": "text encoders on the CPU",
    "checkpointing": "gradient checkpointing",
    "micro_batch": "micro-batches of {}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """How a base is fitted, what that takes, and why.

    phases: by name, in bytes. decided: a sentence for each choice that is not the first.
    """

    way: Way
    phases: Mapping[str, Need]
    decided: tuple[str, ...]

    @property
    def device_bytes(self) -> int:
        """What the device holds at most."""
        return max(need.device for need in self.phases.values())

    @property
    def ram_bytes(self) -> int:
        """What is in RAM at most, where the device has memory of its own."""
        return max(need.ram for need in self.phases.values())

    def runtime(self, device: torch.device) -> Runtime:
        """What the adapters are told."""
        way = self.way
        return Runtime(
            device=device,
            dtype=DTYPES[way.precision],
            text_device=torch.device("cpu") if way.text_on_cpu else None,
            text_dtype=DTYPES[way.text],
            quantization=way.quantization,
            checkpointing=way.checkpointing,
            micro_batch=way.micro_batch,
            vae_parked=way.vae_parked,
            vae_tiled=way.vae_tiled,
        )


def footprint_of(entry: BaseEntry) -> Footprint:
    """What a base takes, with the quantized copies that are kept of it."""
    return Footprint(entry.folder, quantized_copies.found(entry.revision))


def fits_anywhere(entry: BaseEntry, work: Work) -> bool:
    """Whether the work takes no more than the libraries that load the base.

    True of the practice base, while it has not much larger pictures, or more of them, than its own.
    """
    samples = max(work.pairs, work.tuned, work.looked_at) if work.photos else work.pictures
    return entry.practice and samples * work.size[0] * work.size[1] <= _ANYWHERE


def fit(footprint: Footprint, work: Work, on_event: OnEvent) -> MemoryPlan:
    """Choose for this machine as it is now, and say what is not the first choice and why."""
    plan = choose_here(footprint, work)
    runtime.return_freed_memory()  # which the plan counts on
    for sentence in plan.decided:
        on_event(Note(sentence))
    return plan


def choose_here(footprint: Footprint, work: Work) -> MemoryPlan:
    """Choose for this machine as it is now."""
    return choose(footprint, runtime.machine(), work)


def choose(footprint: Footprint, machine: Machine, work: Work) -> MemoryPlan:
    """The first of `ways` that fits into what is free.

    Raises TooLarge with what is missing and what would help, also where weights that are kept
    quantized meet a machine that cannot use them.
    """
    if footprint.kept and not (machine.kind == "cuda" and machine.bitsandbytes):
        raise TooLarge(
            f"this base is kept in {footprint.kept}, which takes an NVIDIA GPU and bitsandbytes",
            hint=EXTRA if machine.kind == "cuda" else "choose a base that is kept whole",
        )
    tried: list[tuple[Way, Mapping[str, Need]]] = []
    for way in ways(footprint, machine, work):
        phases = needs(footprint, machine, work, way)
        tried.append((way, phases))
        if _fits(phases, machine):
            decided = _decided(footprint, machine, work, tried)
            return MemoryPlan(way=way, phases=phases, decided=decided)
    raise _too_large(footprint, machine, work, [phases for _, phases in tried])


def ways(footprint: Footprint, machine: Machine, work: Work) -> Iterator[Way]:
    """Every way, the cheapest first: for each way to keep weights, each to take less activations.

    In all of them text encoders are released once prompts are encoded, and a full-size autoencoder
    takes one picture at a time: neither costs anything.
    """
    for weights, activations in product(
        _weights(footprint, machine), _activations(footprint, work)
    ):
        yield replace(weights, **activations)


def _weights(footprint: Footprint, machine: Machine) -> Iterator[Way]:
    # fp32 on a CPU, where bf16 is about ten times slower.
    whole = Way(precision="bf16" if machine.bf16 else "fp32")
    if not machine.separate:
        yield whole
        yield replace(whole, vae_tiled=True)
        return
    # Costs a copy of 0.3 GB, there and back, for each photo and each batch of pictures.
    parked = replace(whole, vae_parked=True)
    # Rounds the gradient of the learned rows to 8 bits on its way through the encoders.
    short = replace(parked, text="bf16") if machine.bf16 else parked
    if footprint.kept is None:
        yield from (whole, parked, short)
    best = short
    if footprint.quantizable and machine.bitsandbytes and machine.bf16:
        # int8: half the weights; smaller products get slower (Dettmers et al. 2022, "LLM.int8()").
        # nf4: a quarter of the weights, unpacked for every product (Dettmers et al. 2023, "QLoRA").
        for kind in Quantization:
            if footprint.kept in (None, kind):
                best = replace(short, quantization=kind)
                yield best
    # The tiles are blended, so that a picture differs a little from one that was seen whole.
    best = replace(best, vae_tiled=True)
    yield best
    # Every step of stage 1 waits for the CPU to read its prompts, and to go back through them; in
    # bf16 the longer, since few CPUs compute in it.
    yield replace(best, text="fp32", text_on_cpu=True)
    yield replace(best, text="bf16", text_on_cpu=True)


class _Activations(TypedDict, total=False):
    micro_batch: int
    checkpointing: bool


def _activations(footprint: Footprint, work: Work) -> Iterator[_Activations]:
    yield {}
    sizes = [work.batch(footprint)]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    if not work.photos:
        for size in sizes[1:]:  # more launches of smaller kernels
            yield {"micro_batch": size}
        return
    yield {"micro_batch": sizes[0]}  # splits what has no gradients, which costs nothing
    for size in sizes:
        # A second forward: about a third of a step's time. Below the whole batch a third one, since
        # each micro-batch is computed again before its blocks are.
        yield {"micro_batch": size, "checkpointing": True}


def _decided(
    footprint: Footprint,
    machine: Machine,
    work: Work,
    tried: Sequence[tuple[Way, Mapping[str, Need]]],
) -> tuple[str, ...]:
    """For each choice that is not the first: what would be short without it.

    Where the rest alone would do, what was short in the last way that was tried without it.
    """
    (first, _), (way, _) = tried[0], tried[-1]
    sentences = []
    for name, said in _SAID.items():
        value = getattr(way, name)
        if value == getattr(first, name):
            continue
        if name == "micro_batch" and value == work.batch(footprint):
            continue  # splits what has no gradients only, which costs nothing
        phases: Mapping[str, Need] = needs(
            footprint, machine, work, replace(way, **{name: getattr(first, name)})
        )
        if _fits(phases, machine):
            phases = next(p for w, p in reversed(tried) if getattr(w, name) != value)
        kept = name == "quantization" and value in footprint.copies
        choice = said.format(value) + (", from the copy that is kept" if kept else "")
        sentences.append(f"{choice}: otherwise {_shortage(phases, machine)}")
    if sentences and _could_quantize(footprint, machine):
        sentences.append(
            f"bitsandbytes is not installed: {EXTRA} would let the weights shrink to a quarter"
        )
    return tuple(sentences)


def _too_large(
    footprint: Footprint, machine: Machine, work: Work, tried: Sequence[Mapping[str, Need]]
) -> TooLarge:
    least = min(tried, key=lambda phases: _excess(phases, machine))
    if _could_quantize(footprint, machine):
        hint = f"{EXTRA} lets its weights shrink to a quarter; else choose a smaller --base"
    elif work.photos:
        hint = "close what else takes memory, or choose a smaller --base"
    else:
        hint = "draw at a smaller --size, or choose a smaller --base"
    if footprint.quantizable and not machine.separate:
        hint = "it takes an NVIDIA GPU; choose a smaller --base here"
    return TooLarge(f"this base does not fit this machine: {_shortage(least, machine)}", hint=hint)


def _could_quantize(footprint: Footprint, machine: Machine) -> bool:
    return (
        footprint.quantizable
        and machine.kind == "cuda"
        and machine.bf16
        and not machine.bitsandbytes
    )


def _fits(phases: Mapping[str, Need], machine: Machine) -> bool:
    return _excess(phases, machine) <= 1


def _excess(phases: Mapping[str, Need], machine: Machine) -> float:
    """What is needed for what is free, of whichever memory is shorter."""
    return max(
        max(need.device / machine.free, need.ram / machine.ram_free) for need in phases.values()
    )


def _shortage(phases: Mapping[str, Need], machine: Machine) -> str:
    """Which phase takes the most, of what there is too little."""
    name, need = max(phases.items(), key=lambda item: item[1].device)
    if need.device > machine.free:
        where = "GPU memory" if machine.separate else "memory"
        return f"{name!r} takes {_gb(need.device)} of {where}, and {_gb(machine.free)} are free"
    return f"loading takes {_gb(need.ram)} of RAM, and {_gb(machine.ram_free)} are free"


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
