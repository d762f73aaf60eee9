"""Concepts of a few bytes, and the two file formats inside them, built without torch."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence

from prism_cli.registry.archive import pack
from prism_cli.registry.manifest import (
    BaseRef,
    LoraSpec,
    Manifest,
    OptionValue,
    Parent,
    PhotoRecord,
)

ITEM_SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}


def safetensors(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
    """A safetensors file of tensors given as name -> (dtype, shape), filled with a byte pattern."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, (dtype, shape) in tensors.items():
        end = position + math.prod(shape) * ITEM_SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    return with_header(header, bytes(i % 120 for i in range(position)))


def with_header(header: object, body: bytes = b"") -> bytes:
    """A safetensors file of any header, whether or not it is right."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + body


def png(width: int = 2, height: int = 1, *behind: tuple[bytes, bytes]) -> bytes:
    """A black picture; only one of a few pixels has its pixels too. behind: more chunks."""
    rows = b"".join(b"\0" + bytes(3 * width) for _ in range(height if width * height < 99 else 0))
    chunks = [
        (b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        *behind,
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
        for kind, data in chunks
    )


MANIFEST = Manifest(
    name="mydog",
    kind="subject",
    created="2026-01-31T12:00:00Z",
    prism_version="0.1.0",
    base=BaseRef(id="mini", revision="1", parameterization="v"),
    token_length=2,
    residual_lengths={"clip_l": (1, 3), "t5": (2, 2)},
    lora=LoraSpec(rank=4, alpha=4, targets=("to_q", "to_v")),
    options={
        "beta": OptionValue(value=0.05, source="default"),
        "class": OptionValue(value=None, source="default"),
        "steps": OptionValue(value=200, source="flag"),
    },
    seed=7,
    photos=(
        PhotoRecord(sha256="a" * 64, caption="A dog on a sofa.", caption_source="sidecar"),
        PhotoRecord(sha256="b" * 64, caption="Un chien, près d'un arbre.", caption_source="flag"),
    ),
    metrics={"clip_t": 0.25, "photos": 2, "ended": "plateau"},
)

PARENTS = (
    Parent(name="cat", learned="c" * 12, weight=0.5, rank=1, kind="subject", token_length=1),
    Parent(name="ink", learned="d" * 12, weight=-1.0, rank=3, kind="style", token_length=2),
)
COMPOSED = dataclasses.replace(
    MANIFEST,
    name="catink",
    kind="composition",
    token_length=3,
    residual_lengths={},
    photos=(),
    phrase="[cat] in the style of [ink]",
    parents=PARENTS,
)

MEMBERS: Mapping[str, bytes] = {
    "tokens.safetensors": safetensors(
        {"target.clip_l": ("F32", (2, 3)), "target.t5": ("F32", (2, 5))}
    ),
    "residuals.safetensors": safetensors(
        {
            "residual.0.clip_l": ("F32", (1, 3)),
            "residual.0.t5": ("F32", (2, 5)),
            "residual.1.clip_l": ("F32", (3, 3)),
            "residual.1.t5": ("F32", (2, 5)),
        }
    ),
    "lora.safetensors": safetensors(
        {
            "unet.mid.attn1.to_q.lora_A.weight": ("BF16", (4, 6)),
            "unet.mid.attn1.to_q.lora_B.weight": ("BF16", (7, 4)),
        }
    ),
    "preview.png": png(),
}


COMPOSED_MEMBERS: Mapping[str, bytes] = {
    **{name: data for name, data in MEMBERS.items() if name != "residuals.safetensors"},
    "tokens.safetensors": safetensors(
        {
            "target.cat.clip_l": ("F32", (1, 3)),
            "target.cat.t5": ("F32", (1, 5)),
            "target.ink.clip_l": ("F32", (2, 3)),
            "target.ink.t5": ("F32", (2, 5)),
        }
    ),
}


def composition() -> bytes:
    """A good archive, of the composition "catink"."""
    return pack(COMPOSED, COMPOSED_MEMBERS)


def concept(name: str, seed: int = 7) -> bytes:
    """A good archive under any name; its seed tells it from another of that name."""
    return pack(dataclasses.replace(MANIFEST, name=name, seed=seed), MEMBERS)


def sample() -> bytes:
    """A good archive, of the concept "mydog"."""
    return pack(MANIFEST, MEMBERS)
