"""What a safetensors file says it holds, checked against its length; no tensor is decoded.

The layout is the safetensors README's: 8 bytes of little-endian length, that many bytes of JSON,
then the tensors' bytes, each described by dtype, shape and data offsets.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from prism_cli.registry import strict_json
from prism_cli.registry.fields import is_integer
from prism_cli.registry.refusals import TensorsRefused

MAX_HEADER = 16 * 2**20  # a LoRA on every layer of the largest base has under 1 MiB
_MAX_DIMENSIONS = 8

# Bytes an element; the dtypes that a concept may have.
ITEM_SIZES: Mapping[str, int] = {"F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor, undecoded: dtype as safetensors spells it, shape, and its span of bytes."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(data: bytes, member: str) -> dict[str, TensorInfo]:
    """Read the tensors in `data` by name; `TensorsRefused` names `member` and its fault."""
    try:
        header, length = _header(data)
        tensors = {
            name: _tensor(name, value) for name, value in header.items() if name != "__metadata__"
        }
        _check_spans(tensors, len(data) - 8 - length)
    except ValueError as error:
        raise TensorsRefused(f"{member}: {error}") from None
    return tensors


def _header(data: bytes) -> tuple[dict[str, object], int]:
    if len(data) < 8:
        raise ValueError("it is cut short")
    (length,) = struct.unpack_from("<Q", data)
    if length > min(len(data) - 8, MAX_HEADER):
        raise ValueError(f"its header says it is {length} bytes long")
    raw = data[8 : 8 + length]
    header = strict_json.parse(raw, MAX_HEADER)
    if not isinstance(header, dict) or not raw.startswith(b"{"):
        raise ValueError("its header is not a JSON object")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata is not text")
    return header, length


def _tensor(name: str, value: object) -> TensorInfo:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} is not described by dtype, shape and offsets")
    dtype = value["dtype"]
    if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise ValueError(f"tensor {name!r} is of dtype {dtype!r}, not {', '.join(ITEM_SIZES)}")
    shape = _sizes(value["shape"])
    offsets = _sizes(value["data_offsets"])
    if shape is None or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"tensor {name!r} has no shape")
    if offsets is None or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has no offsets")
    begin, end = offsets
    if end - begin != math.prod(shape) * ITEM_SIZES[dtype]:
        raise ValueError(f"tensor {name!r} has {end - begin} bytes for {dtype} {list(shape)}")
    return TensorInfo(dtype, shape, begin, end)


def _sizes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    sizes = tuple(item for item in value if isinstance(item, int) and is_integer(item))
    return sizes if len(sizes) == len(value) and all(size >= 0 for size in sizes) else None


def _check_spans(tensors: Mapping[str, TensorInfo], length: int) -> None:
    """Check that the tensors' bytes fill the file end to end: no gap, no overlap, no tail."""
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != position:
            raise ValueError(f"tensor {name!r} starts at byte {tensor.begin}, not {position}")
        position = tensor.end
    if position != length:
        raise ValueError(f"its tensors end at byte {position}, and it has {length}")
