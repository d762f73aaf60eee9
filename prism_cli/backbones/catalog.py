"""Which bases there are: a name, Hub id or folder to a `BaseEntry`, and its adapter on loading.

Standard library only, so that a wrong `--base` is answered before torch is imported.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prism_cli import paths
from prism_cli.backbones import hub_cache, quantized_copies
from prism_cli.backbones.families import FAMILIES, MINI, MINI_RECIPE, NAMED, NAMES, Family
from prism_cli.errors import BaseNotDownloaded, BaseNotFound, BaseRefused, storage
from prism_cli.files import write_whole
from prism_cli.names import nearest
from prism_cli.settings import Recipe

if TYPE_CHECKING:
    from prism_cli.backbones.base import Backbone
    from prism_cli.runtime import Runtime

__all__ = [
    "MINI_RECIPE",
    "BaseEntry",
    "Recipe",
    "described",
    "described_at",
    "fingerprint",
    "keep_quantized",
    "load",
    "loaded_files",
    "pixels_per_cell",
    "remember",
    "remembered",
    "repository_of",
    "resolve",
    "resolve_pulled",
    "resolve_trained",
]

_PARAMETERIZATIONS = {"epsilon": "eps", "v_prediction": "v"}  # diffusers' names to ours
_PARTS = sorted({part for family in FAMILIES.values() for part in family.parts})
_LOCAL_REVISION = re.compile(r"[0-9a-f]{12}")  # a fingerprint
_MINI = Path(__file__).parents[1] / "bases" / "mini"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseEntry:
    """A base that can be loaded. size: its resolution in px.

    previews: by kind of concept, prompts in which * is it. in_style: a thing, {}, in the style *.
    style_alone: likewise, of nothing in particular.
    """

    id: str
    revision: str
    folder: Path
    adapter: str  # "module:Class"
    parameterization: str
    size: int
    recipe: Recipe
    previews: Mapping[str, tuple[str, ...]]
    in_style: str
    style_alone: str
    practice: bool = False  # the embedded base, which knows no photographs
    mixed: str = ""  # why a LoRA cannot be confined to its token here, where it cannot
    one_prompt: str = ""  # why a negative prompt does nothing here, where it does not


def resolve(base: str | None) -> BaseEntry:
    """The base called `base`: ``mini``, a name in `NAMED`, a folder, or an ``owner/name`` there.

    Raises BaseNotFound when it is none of these, BaseNotDownloaded when it is the Hub's and not on
    this machine, BaseRefused when no adapter serves it.
    """
    if base is None or base == "mini":
        return _entry("mini", _MINI, practice=True)
    folder = _local(base)
    if folder is not None:
        return _entry(f"local:{folder.name}", folder)
    return resolve_pulled(repository_of(base), base)


def resolve_pulled(repository: str, called: str) -> BaseEntry:
    """A base of the Hub at the commit that it is pinned to; `called` so by the user."""
    commit = hub_cache.pinned(repository)
    if commit is None:
        raise BaseNotDownloaded(
            f"the base {called} is not on this machine", hint=f"get it: prism bases pull {called}"
        )
    return _downloaded(repository, commit, f"get it: prism bases pull {called}")


def resolve_trained(base_id: str, revision: str) -> BaseEntry:
    """The base that a concept was trained on, at the very revision.

    A folder is found again where it was last used, a base of the Hub in the cache.
    """
    if base_id == "mini":
        return resolve("mini")
    # Both come from an archive, and must not name another file.
    if hub_cache.is_repository(base_id) and hub_cache.is_commit(revision):
        hint = f"get it: prism bases pull {base_id} --revision {revision}"
        return _downloaded(base_id, revision, hint, trained=(base_id, revision))
    if _LOCAL_REVISION.fullmatch(revision):
        folder = _read_note(_note(revision))
        if folder is not None and folder.is_dir():
            return resolve(str(folder))
    raise BaseNotFound(
        f"the base {base_id!r} is not where it was when it was last used",
        hint="name its folder once where it is now: prism gen PROMPT --base FOLDER",
    )


def described_at(repository: str, commit: str) -> BaseEntry:
    """A base of the Hub of which the configs are here, the rest or not: to plan with."""
    return _entry(repository, hub_cache.snapshot(repository, commit), commit)


def repository_of(base: str) -> str:
    """The Hub's id of a name in `NAMED`, or of an ``owner/name``; BaseNotFound of anything else."""
    if base in NAMED:
        return NAMED[base].repository
    if hub_cache.is_repository(base):
        return base
    close = nearest(base, ["mini", *NAMED])
    raise BaseNotFound(
        f"no base called {base!r}, and no folder there" + (f" (is it {close}?)" if close else ""),
        hint=f"use --base with mini, {', '.join(NAMED)}, a folder, or OWNER/NAME of the Hub;"
        " prism bases lists them",
    )


def remember(entry: BaseEntry) -> None:
    """Note where a local base lies, or at which commit one of the Hub is used from now on.

    The archive does not say where: a path tells about its owner. Nor does it say what a name means
    here: a commit that came for a concept's sake is not pinned.
    """
    if entry.practice:
        return
    if not hub_cache.is_repository(entry.id):
        write_whole(_note(entry.revision), f"{entry.folder}\n".encode())
    elif not hub_cache.is_pinned(entry.id) and (used := hub_cache.pinned(entry.id)) is not None:
        hub_cache.pin(entry.id, used)


def remembered() -> Iterator[Path]:
    """The folders of local bases that were used, whether they are still there or not."""
    notes = [
        note for note in paths.bases_dir().glob("*") if re.fullmatch("[0-9a-f]{12}", note.name)
    ]
    yield from sorted({folder for note in notes if (folder := _read_note(note)) is not None})


def described(folder: Path) -> tuple[str, Family] | None:
    """The pipeline class that `folder` holds, with its family; None where no adapter serves it."""
    try:
        pipeline = json.loads((folder / hub_cache.INDEX).read_text("utf-8"))["_class_name"]
        return pipeline, FAMILIES[pipeline]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def load(entry: BaseEntry, runtime: Runtime) -> Backbone:
    """Import the adapter and load the weights, from the quantized copy where one is kept."""
    copy = quantized_copies.found(entry.revision).get(runtime.quantization or "")
    backbone: Backbone = _adapter(entry).load(entry.folder, replace(runtime, copy=copy))
    return backbone


def keep_quantized(entry: BaseEntry, runtime: Runtime, place: Path) -> None:
    """Write the parts that `load` would quantize to `place`; only of a family that has some."""
    _adapter(entry).keep_quantized(entry.folder, runtime, place)


def pixels_per_cell(vae: Mapping[str, Any]) -> int:
    """The side of a latent cell in pixels, from an autoencoder's config of either kind."""
    levels = len(vae.get("encoder_block_out_channels") or vae["block_out_channels"])
    return int(2 ** (levels - 1))


def fingerprint(folder: Path) -> str:
    """Twelve hexadecimal digits that change when a pipeline's files do.

    Small files count whole; of a weight file its size, its head and sixteen samples, so that a base
    of many gigabytes is told apart in milliseconds.
    """
    digest = hashlib.sha256()
    for path in sorted(loaded_files(folder)):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            for at in sorted({size * k // 16 for k in range(16)}):
                file.seek(at)
                digest.update(file.read(1 << 16))
    return digest.hexdigest()[:12]


def loaded_files(folder: Path) -> Iterable[Path]:
    """The files that a pipeline is loaded from; a note left beside them does not change it."""
    yield folder / hub_cache.INDEX
    for part in _PARTS:
        for path in (folder / part).rglob("*"):
            if path.suffix in {".json", ".safetensors", ".txt", ".model"} and path.is_file():
                yield path


def _local(base: str) -> Path | None:
    """The folder that `base` names; a base's name is never one."""
    folder = Path(os.path.expanduser(base))  # noqa: PTH111 (Path's raises for an unknown user)
    return folder.resolve() if base not in NAMED and folder.is_dir() else None


def _downloaded(
    repository: str, commit: str, hint: str, trained: tuple[str, str] | None = None
) -> BaseEntry:
    """The base that the cache holds at a commit; else BaseNotDownloaded, with the hint."""
    folder, called = hub_cache.snapshot(repository, commit), NAMES.get(repository, repository)
    found = described(folder)
    if found is None and (folder / hub_cache.INDEX).is_file():
        return _entry(repository, folder, commit)  # which says why no adapter serves it
    missing = hub_cache.lacking(hub_cache.files_in(folder), found[1].parts) if found else ""
    if missing is not None:
        raise BaseNotDownloaded(
            f"the base {called} at revision {commit[:12]} is not on this machine"
            + (f": there is no {missing}" if missing else ""),
            hint=hint,
            trained=trained,
        )
    return _entry(repository, folder, commit)


def _adapter(entry: BaseEntry) -> Any:
    module, _, name = entry.adapter.partition(":")
    return getattr(importlib.import_module(module), name)


def _note(revision: str) -> Path:
    return paths.bases_dir() / revision


def _read_note(note: Path) -> Path | None:
    with storage("read", note):
        text = note.read_text("utf-8", "replace").strip() if note.is_file() else ""
    return Path(text) if text else None


def _entry(base_id: str, folder: Path, revision: str = "", *, practice: bool = False) -> BaseEntry:
    """Read what there is to know of a base from its configs. revision: "" for its fingerprint."""
    try:
        pipeline = json.loads((folder / hub_cache.INDEX).read_text("utf-8"))["_class_name"]
        if pipeline not in FAMILIES:
            raise BaseRefused(
                f"{folder} holds a {pipeline}, which no adapter serves",
                hint=f"give one with {', '.join(FAMILIES)}, or --base mini",
            )
        family = MINI if practice else FAMILIES[pipeline]
        size = family.size or _unet_size(folder)
        parameterization = family.parameterization or _prediction(folder)
        revision = revision or fingerprint(folder)
    except FileNotFoundError as error:
        raise BaseRefused(
            f"{folder} does not hold a pipeline: there is no {error.filename}",
            hint="give a folder that diffusers' from_pretrained loads, or --base mini",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseRefused(
            f"{folder} does not hold a pipeline in diffusers' format ({error})",
            hint="give a folder that diffusers' from_pretrained loads, or --base mini",
        ) from error
    return BaseEntry(
        id=base_id,
        revision=revision,
        folder=folder,
        adapter=family.adapter,
        parameterization=parameterization,
        size=size,
        recipe=family.recipe,
        previews=family.previews,
        in_style=family.in_style,
        style_alone=family.style_alone,
        practice=practice,
        mixed=family.mixed,
        one_prompt=family.one_prompt,
    )


def _unet_size(folder: Path) -> int:
    """The resolution in px that the UNet's config says the base was made for."""
    unet = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
    vae = json.loads((folder / "vae" / "config.json").read_text("utf-8"))
    return int(unet["sample_size"]) * pixels_per_cell(vae)


def _prediction(folder: Path) -> str:
    """What the scheduler's config says the UNet predicts."""
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    return _PARAMETERIZATIONS[scheduler.get("prediction_type", "epsilon")]
