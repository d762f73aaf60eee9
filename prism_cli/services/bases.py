"""`prism bases`: what there is, what is here, which one is the default, and what must be fetched.

Nothing is loaded for it, torch included.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from prism_cli.backbones import catalog, hub_cache, quantized_copies
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.backbones.families import FAMILIES, NAMED, NAMES, Family
from prism_cli.errors import BaseNotDownloaded, BaseRefused, PrismError
from prism_cli.services.events import Note

# SDXL as it is loaded: UNet in bf16, text encoders and autoencoder in fp32, 8.8 GB in all. As much
# again is left for what a step computes. (A GPU without bf16 takes 14 GB of weights, and is refused
# if the rest does not fit: the driver's tool does not tell on every version what it computes in.)
ROOM_FOR_SDXL = 16_000_000_000  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseInfo:
    """One line of the listing; None is not known.

    name: what `--base` takes. size: its resolution in px. disk and download: in bytes, of the files
    that are loaded. page: where a gated base's licence is accepted. quantized: the copies that are
    kept, with their bytes.
    """

    name: str
    what: str
    here: bool
    id: str
    revision: str | None = None
    folder: Path | None = None
    size: int | None = None
    disk: int | None = None
    download: int | None = None
    licence: str | None = None
    gated: bool | None = None
    page: str | None = None
    problem: str | None = None
    default: bool = False
    quantized: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """Every base that is known, the default first said to be so, and why it is the default."""

    bases: tuple[BaseInfo, ...]
    default: str
    why: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A base that a command needs and that would have to be downloaded.

    revision: where not the one that is used from now on. size: in bytes, where it is known before
    the Hub is asked. refusal: what to raise instead.
    """

    base: str
    revision: str | None
    size: int | None
    note: Note | None
    refusal: BaseNotDownloaded


@dataclass(frozen=True, slots=True)
class Ahead:
    """A base of which only the configs are here, for a plan.

    size: bytes of the files that it is loaded from. download: of those that are not here.
    """

    entry: BaseEntry
    size: int
    download: int


def short_names() -> tuple[str, ...]:
    """The bases that have a name of their own, downloaded or not."""
    return ("mini", *NAMED)


def list_bases() -> Listing:
    """What `--base` can name: the named bases, and others of the Hub or in folders, once used."""
    default, why = default_base(gpu_memory())
    others = [r for r in hub_cache.pinned_repositories() if r not in NAMES]
    rows = [
        _embedded(),
        *(_on_the_hub(name) for name in [*NAMED, *others]),
        *(_in_a_folder(folder) for folder in catalog.remembered()),
    ]
    return Listing(tuple(replace(r, default=r.name == default) for r in rows), default, why)


def default_base(memory: int | None) -> tuple[str, str]:
    """The base that is used where none is named, and why. memory: the GPU's, None without one."""
    if memory is None:
        return "mini", "the default where no NVIDIA GPU is found"
    if memory < ROOM_FOR_SDXL:
        return "mini", (
            f"sdxl is the default on a GPU with {ROOM_FOR_SDXL / 1e9:.0f} GB, and this one has"
            f" {memory / 1e9:.1f} GB"
        )
    try:
        catalog.resolve("sdxl")
    except PrismError as error:
        return "mini", f"sdxl is the default on this GPU, but {error.message}"
    return "sdxl", "the default on a GPU with room for it"


def choose(base: str | None, *, cuda: bool, ahead: Ahead | None = None) -> tuple[BaseEntry, str]:
    """The base that `--base` names, or the default; and why it is this one.

    ahead: what `base` names, where it is not here and only planned.
    """
    if base is not None:
        return ahead.entry if ahead else catalog.resolve(base), "named with --base"
    name, why = default_base(gpu_memory() if cuda else None)
    return catalog.resolve(name), f"no other was named with --base; {why}"


def gpu_memory() -> int | None:
    """Bytes of memory of the smallest NVIDIA GPU; None where there is none, or all are hidden.

    Asked of the driver's own tool, which answers before torch would be imported.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}
    tool = None if hidden else shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        return min(int(line) for line in answer.stdout.split()) << 20  # MiB
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # the tool is there and its driver or card is not


def offer_for(base: str | None) -> Offer | None:
    """What must be downloaded before `base` is used; None where nothing must.

    Raises BaseNotFound or BaseRefused when `base` names none that could be.
    """
    if base is None:
        return None
    try:
        catalog.resolve(base)
    except BaseNotDownloaded as refusal:
        return _offer(base, None, refusal)
    return None


def offer_after(refusal: BaseNotDownloaded) -> Offer | None:
    """The base that a concept was trained on, where a command failed for want of it."""
    if refusal.trained is None:
        return None
    repository, commit = refusal.trained
    return _offer(NAMES.get(repository, repository), commit, refusal)


def _offer(base: str, revision: str | None, refusal: BaseNotDownloaded) -> Offer:
    named = NAMED.get(NAMES.get(catalog.repository_of(base), ""))
    note = wants_gpu(base, FAMILIES[named.pipeline]) if named else None
    return Offer(base, revision, named.weights if named else None, note, refusal)


def wants_gpu(base: str, family: Family) -> Note | None:
    """The warning that `base` is too large for a machine without a GPU, on such a machine."""
    if not family.on_cpu or gpu_memory() is not None:
        return None
    return Note(f"{base} wants an NVIDIA GPU, and none was found: {family.on_cpu}", level="warning")


def _embedded() -> BaseInfo:
    entry = catalog.resolve("mini")
    return BaseInfo(
        name="mini",
        what="the practice base: icons",
        here=True,
        id=entry.id,
        revision=entry.revision,
        folder=entry.folder,
        size=entry.size,
        disk=_disk(entry.folder),
        licence="Apache-2.0",
        gated=False,
    )


def _on_the_hub(name: str) -> BaseInfo:
    """A base by its name or Hub id, as far as this machine knows it."""
    repository, named = catalog.repository_of(name), NAMED.get(name)
    known = BaseInfo(name=name, what="on the Hub", here=False, id=repository)
    if named is not None:
        known = replace(
            known,
            what=named.what,
            size=named.size,
            download=named.weights,
            licence=named.licence,
            gated=named.gated,
            page=f"https://huggingface.co/{repository}" if named.gated else None,
        )
    try:
        entry = catalog.resolve_pulled(repository, name)
    except BaseNotDownloaded:
        return known
    except BaseRefused as error:
        return replace(known, problem=error.message)
    found = _found(entry)
    return replace(found, what=known.what) if named is None else _merged(known, found)


def _in_a_folder(folder: Path) -> BaseInfo:
    """A local base, under the path that `--base` takes."""
    try:
        found = _found(catalog.resolve(str(folder)))
    except PrismError as error:
        return BaseInfo(
            name=str(folder),
            what="a folder",
            here=False,
            id=f"local:{folder.name}",
            folder=folder,
            problem=error.message,
        )
    return replace(found, name=str(folder))


def _found(entry: BaseEntry) -> BaseInfo:
    """A base that is here, as its own files describe it."""
    described = catalog.described(entry.folder)
    return BaseInfo(
        name=NAMES.get(entry.id, entry.id),
        what=described[0] if described else "",
        here=True,
        id=entry.id,
        revision=entry.revision,
        folder=entry.folder,
        size=entry.size,
        disk=_disk(entry.folder),
        quantized={
            kind: quantized_copies.size(folder)
            for kind, folder in quantized_copies.found(entry.revision).items()
        },
    )


def _merged(known: BaseInfo, found: BaseInfo) -> BaseInfo:
    """What the table says of a named base, and where it lies."""
    return replace(
        known,
        here=True,
        revision=found.revision,
        folder=found.folder,
        size=found.size,
        disk=found.disk,
        quantized=found.quantized,
    )


def _disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in _existing(folder))


def _existing(folder: Path) -> Iterator[Path]:
    return (file for file in catalog.loaded_files(folder) if file.is_file())
