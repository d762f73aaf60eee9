"""The states of disk and registry that the command line is tried in; paths are relative to "."."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prism_cli.registry import container
from prism_cli.registry.archive import pack
from prism_cli.registry.manifest import BaseRef
from tests.registry.samples import MANIFEST, MEMBERS, concept, png

EXAMPLES = Path(__file__).parents[2] / "examples" / "zuzu"


def photos(place: Path, count: int = 3) -> None:
    """A folder "photos" of small pictures with their captions."""
    (place / "photos").mkdir()
    for number in range(1, count + 1):
        for suffix in ("png", "txt"):
            shutil.copy(EXAMPLES / f"{number:02}.{suffix}", place / "photos")


def keep(name: str, data: bytes | None = None) -> Path:
    """Put an archive into the registry, whatever is in it."""
    path = Path(os.environ["PRISM_HOME"]) / "concepts" / f"{name}.prism"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(concept(name) if data is None else data)
    return path


def on_base(name: str, base_id: str, revision: str = "1") -> bytes:
    """A good archive of a concept that was trained on another base."""
    base = BaseRef(id=base_id, revision=revision, parameterization="v")
    return pack(dataclasses.replace(MANIFEST, name=name, base=base), MEMBERS)


def corrupt(name: str = "mydog") -> bytes:
    """An archive with one byte of its LoRA changed."""
    data = bytearray(concept(name))
    data[data.rindex(MEMBERS["lora.safetensors"][-16:])] ^= 1
    return bytes(data)


def newer(name: str = "mydog") -> bytes:
    """An archive of a format that does not exist yet."""
    document = json.loads(dataclasses.replace(MANIFEST, name=name).to_json())
    text = json.dumps({**document, "format": 2, "mood": "new"}).encode()
    return container.write({"manifest.json": text, **MEMBERS})


def foreign_base(place: Path, pipeline: str) -> None:
    """A folder "base" that holds another kind of pipeline."""
    (place / "base").mkdir()
    (place / "base" / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))


def picture(path: Path) -> None:
    """A PNG without a word of how it was drawn."""
    path.write_bytes(png())


def refuse_writing(patch: pytest.MonkeyPatch, code: int, begin: str = "") -> None:
    """Make the operating system refuse to begin a file whose name begins so."""
    import tempfile

    real: Callable[..., Any] = tempfile.mkstemp

    def refuse(*args: Any, **kwargs: Any) -> Any:
        if str(kwargs.get("prefix", "")).startswith(f".{begin}"):
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    patch.setattr("prism_cli.files.tempfile.mkstemp", refuse)


def full_disk(patch: pytest.MonkeyPatch, begin: str = "") -> None:
    """No room is left for a file whose name begins so."""
    refuse_writing(patch, errno.ENOSPC, begin)


def closed(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    """The file of that name may not be opened."""

    def before(patch: pytest.MonkeyPatch) -> None:
        real = Path.open

        def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
            if self.name == name:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return real(self, *args, **kwargs)

        patch.setattr(Path, "open", refuse)

    return before


def locked_disk(patch: pytest.MonkeyPatch) -> None:
    """Nothing may be written."""
    refuse_writing(patch, errno.EACCES)
