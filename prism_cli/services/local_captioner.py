"""The captioner that runs on this machine: which one, and whether it is here.

Standard library only, so that a command can ask before torch is imported.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from prism_cli.backbones import hub_cache
from prism_cli.errors import CaptionerNotDownloaded

# docs/method.md, "Captions", says why this one.
REPOSITORY = "Salesforce/blip-image-captioning-large"
REVISION = "353689b859fcf0523410b1806dace5fb46ecdf41"
SIZE = 1_880_000_000  # bytes, of 470 million weights in fp32
COMMAND = "prism caption --pull"
_WEIGHTS = "model.safetensors"
_NEEDED = ("config.json", "preprocessor_config.json", "tokenizer_config.json", _WEIGHTS)


def needed(files: Collection[str]) -> list[str]:
    """Those of the repository's `files` that it is loaded from: no pickle, no other form."""
    return [f for f in files if f == _WEIGHTS or ("/" not in f and f.endswith((".json", ".txt")))]


def lacking(files: Collection[str]) -> str | None:
    """The first file that it cannot be loaded without; None if it is whole."""
    return next((file for file in _NEEDED if file not in files), None)


def find() -> Path | None:
    """The folder of its files; None where they are not all here."""
    folder = hub_cache.snapshot(REPOSITORY, REVISION)
    return folder if lacking(hub_cache.files_in(folder)) is None else None


def require() -> Path:
    """The folder of its files. Raises CaptionerNotDownloaded."""
    folder = find()
    if folder is None:
        raise CaptionerNotDownloaded(
            "the local captioner is not on this machine", hint=f"get it: {COMMAND}"
        )
    return folder
