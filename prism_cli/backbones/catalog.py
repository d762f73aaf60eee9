"""Which bases there are: a name or a folder to a `BaseEntry`; adapters are imported when one loads.

Standard library only, so that a wrong `--base` is answered before torch is imported.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prism_cli import paths
from prism_cli.errors import BaseNotFound, BaseRefused, storage
from prism_cli.files import write_whole
from prism_cli.settings import DrawingOptions, FinetuneOptions, Recipe, TokenOptions

if TYPE_CHECKING:
    from prism_cli.backbones.base import Backbone
    from prism_cli.runtime import Runtime

_PARAMETERIZATIONS = {"epsilon": "eps", "v_prediction": "v"}  # diffusers' names to ours
_ADAPTERS = {
    "StableDiffusionPipeline": "prism_cli.backbones.unet:UNetBackbone",
    "StableDiffusionXLPipeline": "prism_cli.backbones.sdxl:SDXLBackbone",
}

# docs/method.md, "The practice base": measured on it, not taken from the paper.
MINI_RECIPE = Recipe(
    tokens=TokenOptions(steps=100, batch=4, lr=5e-3, beta=1.0, anchors=1, plateau_window=4),
    finetuning=FinetuneOptions(steps=100, batch=4, lr=1e-3, plateau_window=4),
    drawing=DrawingOptions(steps=30, guidance=4.0),
)
_PARTS = (  # folders; a pipeline of one text encoder has no "_2"
    "scheduler",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "unet",
    "vae",
)
_MINI = Path(__file__).parents[1] / "bases" / "mini"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseEntry:
    """A base that can be loaded. size: its resolution in px. previews: prompts, * the concept."""

    id: str
    revision: str
    folder: Path
    adapter: str  # "module:Class"
    parameterization: str
    size: int
    recipe: Recipe
    previews: tuple[str, ...]
    practice: bool = False  # the embedded base, which knows no photographs


def resolve(base: str | None) -> BaseEntry:
    """The base called `base`: ``mini``, or a folder in Stable Diffusion's format.

    Raises BaseNotFound when it is neither, BaseRefused when no adapter serves the folder.
    """
    if base is None or base == "mini":
        return _entry(
            "mini",
            _MINI,
            MINI_RECIPE,
            (
                "a * on a red background",
                "a * in the desert",
                "a * at night",
                "a small * in the snow",
            ),
            practice=True,
        )
    folder = Path(os.path.expanduser(base))  # noqa: PTH111 (Path's raises for an unknown user)
    if not folder.is_dir():
        raise BaseNotFound(
            f"no base called {base!r}, and no folder there",
            hint="use --base mini, or --base FOLDER with a pipeline in Stable Diffusion's format",
        )
    return _entry(
        f"local:{folder.resolve().name}",
        folder.resolve(),
        Recipe(),
        ("a photo of *", "* on a beach", "* in the snow", "a painting of *"),
    )


def resolve_trained(base_id: str, revision: str) -> BaseEntry:
    """The base that a concept was trained on; a folder is found again where it was last used."""
    if base_id == "mini":
        return resolve("mini")
    if re.fullmatch(r"[0-9a-f]{12}", revision):  # from an archive: it must not name another file
        record = _record(revision)
        with storage("read", record):
            folder = record.read_text("utf-8", "replace").strip() if record.is_file() else ""
        if folder and Path(folder).is_dir():
            return resolve(folder)
    raise BaseNotFound(
        f"the base {base_id!r} is not where it was when it was last used",
        hint="name its folder with --base FOLDER",
    )


def remember(entry: BaseEntry) -> None:
    """Note where a local base lies. The archive does not say: a path tells about its owner."""
    if not entry.practice:
        write_whole(_record(entry.revision), f"{entry.folder}\n".encode())


def load(entry: BaseEntry, runtime: Runtime) -> Backbone:
    """Import the adapter and load the weights."""
    module, _, name = entry.adapter.partition(":")
    adapter: Backbone = getattr(importlib.import_module(module), name).load(entry.folder, runtime)
    return adapter


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
    for path in sorted(_weights_and_configs(folder)):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            for at in sorted({size * k // 16 for k in range(16)}):
                file.seek(at)
                digest.update(file.read(1 << 16))
    return digest.hexdigest()[:12]


def _weights_and_configs(folder: Path) -> Iterable[Path]:
    """The files that a pipeline is loaded from; a note left beside them does not change it."""
    yield folder / "model_index.json"
    for part in _PARTS:
        for path in (folder / part).rglob("*"):
            if path.suffix in {".json", ".safetensors", ".txt"} and path.is_file():
                yield path


def _record(revision: str) -> Path:
    return paths.data_dir() / "bases" / revision


def _entry(
    base_id: str, folder: Path, recipe: Recipe, previews: tuple[str, ...], *, practice: bool = False
) -> BaseEntry:
    try:
        pipeline = json.loads((folder / "model_index.json").read_text("utf-8"))["_class_name"]
        if pipeline not in _ADAPTERS:
            raise BaseRefused(
                f"{folder} holds a {pipeline}, which no adapter serves",
                hint="give a folder with a " + " or ".join(_ADAPTERS) + ", or --base mini",
            )
        unet = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
        vae = json.loads((folder / "vae" / "config.json").read_text("utf-8"))
        scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8"))
        adapter = _ADAPTERS[pipeline]
        size = int(unet["sample_size"]) * pixels_per_cell(vae)
        parameterization = _PARAMETERIZATIONS[scheduler.get("prediction_type", "epsilon")]
        revision = fingerprint(folder)
    except FileNotFoundError as error:
        raise BaseRefused(
            f"{folder} does not hold a pipeline: there is no {error.filename}",
            hint="give a folder that StableDiffusionPipeline.from_pretrained loads, or --base mini",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseRefused(
            f"{folder} does not hold a pipeline in Stable Diffusion's format ({error})",
            hint="give a folder that StableDiffusionPipeline.from_pretrained loads, or --base mini",
        ) from error
    return BaseEntry(
        id=base_id,
        revision=revision,
        folder=folder,
        adapter=adapter,
        parameterization=parameterization,
        size=size,
        recipe=recipe,
        previews=previews,
        practice=practice,
    )
