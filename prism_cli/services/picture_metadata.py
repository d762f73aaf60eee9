"""What a drawn picture says of itself: enough to draw it again, and the text other tools read."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from prism_cli import __version__
from prism_cli.errors import FileMissing, Refused, storage

_KEY = "prism"  # our own text chunk; "parameters" is the one that other tools read
_TYPES = {
    "prompt": str,
    "negative": str,
    "seed": int,
    "steps": int,
    "guidance": float,
    "width": int,
    "height": int,
    "scale": float,
    "sampler": str,
    "method": str,
    "base": str,
    "revision": str,
    "concepts": dict,
}


class NotDrawnByPrism(Refused):
    """A picture without prism's own metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRecord:
    """How one picture was drawn. concepts: name -> a digest of its learned tensors.

    method: how the concepts' LoRAs acted together.
    """

    prompt: str
    negative: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    scale: float
    sampler: str
    method: str
    base: str
    revision: str
    concepts: Mapping[str, str]


def text_chunks(record: PictureRecord) -> PngImagePlugin.PngInfo:
    """Both chunks of a PNG: ours as JSON, and ``parameters`` in the form that A1111 introduced.

    There the last line holds ``key: value`` pairs, and a value with a comma is quoted.
    """
    pairs = {
        "Steps": record.steps,
        "Sampler": record.sampler,
        "CFG scale": f"{record.guidance:g}",
        "Seed": record.seed,
        "Size": f"{record.width}x{record.height}",
        "Model hash": record.revision,
        "Model": record.base,
        "Version": f"prism {__version__}",
    }
    lines = [record.prompt, f"Negative prompt: {record.negative}" if record.negative else ""]
    lines.append(", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items()))
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("parameters", "\n".join(line for line in lines if line))
    chunks.add_itxt(_KEY, json.dumps({"version": __version__, **asdict(record)}, sort_keys=True))
    return chunks


def read_record(path: Path) -> PictureRecord:
    """How the picture at `path` was drawn. Raises FileMissing, NotDrawnByPrism, StorageFailed."""
    if not path.is_file():
        raise FileMissing(
            f"there is no picture at {path}", hint="give the path of a PNG that prism drew"
        )
    with storage("read", path):
        data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            text = picture.text.get(_KEY, "")  # type: ignore[attr-defined]  # PngImageFile's
            return _record(json.loads(text))
    except Exception as error:  # a decoder raises whatever damaged data leads it to
        raise NotDrawnByPrism(
            f"{path} does not say how it was drawn",
            hint="only a PNG that `prism gen` wrote, and no tool has rewritten, can be drawn again",
        ) from error


def _record(document: Any) -> PictureRecord:
    values = {key: document[key] for key in _TYPES}
    for key, kind in _TYPES.items():
        if kind is float and isinstance(values[key], int):
            values[key] = float(values[key])
        if not isinstance(values[key], kind) or isinstance(values[key], bool):
            raise TypeError(key)
        if kind is float and not math.isfinite(values[key]):
            raise ValueError(key)
    return PictureRecord(**values)


def _quoted(value: str) -> str:
    return json.dumps(value) if any(c in value for c in ",:\n") else value
