"""`prism bases pull --quantize`: weights are quantized once, and later starts read them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from prism_cli import paths, runtime
from prism_cli.backbones import catalog, quantized_copies
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.backbones.families import FAMILIES, NAMED, NAMES, Family
from prism_cli.backbones.footprint import Footprint
from prism_cli.errors import BaseRefused, OptionRefused
from prism_cli.files import check_room
from prism_cli.runtime import Quantization, Runtime
from prism_cli.services.downloads import Pulled, pull, refuse_what_is_here
from prism_cli.services.events import Note, OnEvent, ignore
from prism_cli.services.memory_plan import EXTRA


def pull_quantized(
    base: str, revision: str | None, kind: str, on_event: OnEvent = ignore
) -> Pulled:
    """`downloads.pull`, and keep what is quantized of the base in `kind`, a `Quantization`, too.

    Raises OptionRefused where this machine cannot quantize and BaseRefused where the base's adapter
    does not, both before anything large is downloaded; else what `pull` raises, and DiskFull.
    """
    refuse_what_is_here(base)
    accept = partial(_check_family, base)
    named = NAMED.get(NAMES.get(catalog.repository_of(base), ""))
    if named is not None:
        accept(FAMILIES[named.pipeline])
    _check_machine(base)
    pulled = pull(base, revision, on_event, accept=accept)
    entry = catalog.resolve_pulled(pulled.repository, pulled.name)
    return replace(pulled, quantized=_keep(entry, Quantization(kind), on_event))


def _check_family(base: str, family: Family) -> None:
    if not family.quantized:
        raise BaseRefused(
            f"{base} has a UNet, whose convolutions bitsandbytes leaves as they are",
            hint=f"pull it whole: prism bases pull {base}",
        )


def _check_machine(base: str) -> None:
    machine, whole = runtime.machine(), f"pull it whole: prism bases pull {base}"
    if machine.kind != "cuda":
        raise OptionRefused("--quantize takes an NVIDIA GPU, and none was found", hint=whole)
    if not machine.bf16:
        raise OptionRefused("--quantize takes a GPU that computes in bf16", hint=whole)
    if not machine.bitsandbytes:
        raise OptionRefused("--quantize takes bitsandbytes, which is not installed", hint=EXTRA)


def _keep(entry: BaseEntry, kind: Quantization, on_event: OnEvent) -> Path:
    place = quantized_copies.place(entry.revision, kind)
    if place.is_dir():
        return place
    footprint = Footprint(entry.folder)
    if footprint.kept is not None:
        raise BaseRefused(
            f"this base is kept in {footprint.kept} already",
            hint="use it as it is, with --base and its name",
        )
    parts = (footprint.denoiser, *footprint.quantized_texts)
    size = sum(footprint.parts[name].bytes(kind.value) for name in parts)
    check_room(paths.data_dir(), size, "the quantized weights take", "PRISM_HOME")
    on_event(Note(f"quantizing {' and '.join(parts)} in {kind}, once; it takes minutes"))
    # As a memory plan has it that quantizes: the text encoder in bf16 too.
    how = Runtime(
        runtime.detect().device, torch.bfloat16, text_dtype=torch.bfloat16, quantization=kind
    )
    with quantized_copies.written(entry.revision, kind) as folder:
        catalog.keep_quantized(entry, how, folder)
    return place
