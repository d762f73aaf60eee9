"""Whether the members of an archive are the tensors and the picture that its manifest describes."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence

from prism_cli.registry.container import LORA, PREVIEW, RESIDUALS, TOKENS
from prism_cli.registry.manifest import ENCODER, LoraSpec, Manifest, Parent
from prism_cli.registry.refusals import PreviewRefused, TensorsRefused
from prism_cli.registry.safetensors_header import TensorInfo, read_header

MAX_PREVIEW_SIDE = 8192  # px

_LORA_KEY = re.compile(r"((?:unet|transformer)\.[A-Za-z0-9_.]+)\.lora_([AB])\.weight")
_PNG = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">8sL4sLL")  # signature, length, type, width, height


def check_contents(manifest: Manifest, members: Mapping[str, bytes]) -> None:
    """Check every member but the manifest.

    Raises `TensorsRefused` or `PreviewRefused`, which says what is wrong.
    """
    tokens = read_header(members[TOKENS], TOKENS)
    if manifest.parents:
        widths = _check_composed_tokens(tokens, manifest.parents)
    else:
        widths = _check_tokens(tokens, manifest.token_length)
    if (RESIDUALS in members) != bool(manifest.residual_lengths):
        raise TensorsRefused(f"the manifest and {RESIDUALS} differ on whether residuals are kept")
    if RESIDUALS in members:
        residuals = read_header(members[RESIDUALS], RESIDUALS)
        _check_residuals(residuals, manifest.residual_lengths, widths)
    if (LORA in members) != (manifest.lora is not None):
        raise TensorsRefused(f"the manifest and {LORA} differ on whether there is a LoRA")
    if manifest.lora is not None:
        _check_lora(read_header(members[LORA], LORA), manifest.lora)
    if PREVIEW in members:
        _check_preview(members[PREVIEW])


def _check_tokens(tensors: Mapping[str, TensorInfo], length: int) -> dict[str, int]:
    """Check that each is a ``target.<encoder>`` of shape (n, d); returns d by encoder."""
    widths: dict[str, int] = {}
    for key, tensor in tensors.items():
        prefix, _, encoder = key.partition(".")
        if prefix != "target" or not re.fullmatch(ENCODER, encoder):
            raise TensorsRefused(f"{TOKENS}: {key!r} is not the target of an encoder")
        widths[encoder] = _rows(TOKENS, key, tensor, length)
    if not widths:
        raise TensorsRefused(f"{TOKENS}: it has no target")
    return widths


def _check_composed_tokens(
    tensors: Mapping[str, TensorInfo], parents: Sequence[Parent]
) -> dict[str, int]:
    """Check for a ``target.<concept>.<encoder>`` of each parent and encoder; returns d of each."""
    lengths = {parent.name: parent.token_length for parent in parents}
    widths: dict[str, int] = {}
    for key, tensor in tensors.items():
        prefix, concept, encoder = [*key.split(".", 2), "", ""][:3]
        if prefix != "target" or concept not in lengths or not re.fullmatch(ENCODER, encoder):
            raise TensorsRefused(f"{TOKENS}: {key!r} is not a parent's target of an encoder")
        width = _rows(TOKENS, key, tensor, lengths[concept])
        if widths.setdefault(encoder, width) != width:
            raise TensorsRefused(f"{TOKENS}: the targets of {encoder!r} differ in width")
    for concept in lengths:
        for encoder in widths:
            if f"target.{concept}.{encoder}" not in tensors:
                raise TensorsRefused(f"{TOKENS}: 'target.{concept}.{encoder}' is missing")
    if not widths:
        raise TensorsRefused(f"{TOKENS}: it has no target")
    return widths


def _check_residuals(
    tensors: Mapping[str, TensorInfo],
    lengths: Mapping[str, tuple[int, ...]],
    widths: Mapping[str, int],
) -> None:
    """Check ``residual.<i>.<encoder>``, shape (m_i, d), for each photo i and target's encoder."""
    if lengths.keys() != widths.keys():
        raise TensorsRefused(f"{RESIDUALS}: its encoders are not those of {TOKENS}")
    expected = {
        f"residual.{i}.{encoder}": (length, widths[encoder])
        for encoder, each in lengths.items()
        for i, length in enumerate(each)
    }
    for key in sorted(expected.keys() ^ tensors.keys()):
        raise TensorsRefused(
            f"{RESIDUALS}: {key!r} is " + ("missing" if key in expected else "unknown")
        )
    for key, (length, width) in expected.items():
        if _rows(RESIDUALS, key, tensors[key], length) != width:
            raise TensorsRefused(
                f"{RESIDUALS}: {key!r} is {tensors[key].shape[1]} wide, and its target {width}"
            )


def _rows(member: str, key: str, tensor: TensorInfo, length: int) -> int:
    """Check that `tensor` is `length` fp32 rows; returns how wide they are."""
    if tensor.dtype != "F32":
        raise TensorsRefused(f"{member}: {key!r} is {tensor.dtype}, not F32")
    if len(tensor.shape) != 2 or tensor.shape[0] != length or tensor.shape[1] < 1:
        raise TensorsRefused(f"{member}: {key!r} is {list(tensor.shape)}, not [{length}, d]")
    return tensor.shape[1]


def _check_lora(tensors: Mapping[str, TensorInfo], lora: LoraSpec) -> None:
    """Check for diffusers' keys, in pairs: lora_A of shape (r, in), lora_B of shape (out, r)."""
    halves: dict[str, set[str]] = {}
    for key, tensor in tensors.items():
        match = _LORA_KEY.fullmatch(key)
        if match is None:
            raise TensorsRefused(f"{LORA}: {key!r} is not half of a LoRA layer")
        layer, half = match.groups()
        halves.setdefault(layer, set()).add(half)
        rank_axis = 0 if half == "A" else 1
        if len(tensor.shape) != 2 or tensor.shape[rank_axis] != lora.rank or 0 in tensor.shape:
            raise TensorsRefused(
                f"{LORA}: {key!r} is {list(tensor.shape)}, which is not of rank {lora.rank}"
            )
    for layer, found in halves.items():
        if len(found) < 2:
            raise TensorsRefused(f"{LORA}: {layer!r} has only half of its LoRA")
    if len({layer.partition(".")[0] for layer in halves}) != 1:
        raise TensorsRefused(f"{LORA}: it is not the LoRA of one unet or one transformer")


def _check_preview(data: bytes) -> None:
    if len(data) < _IHDR.size:
        raise PreviewRefused(f"{PREVIEW} is not a PNG")
    signature, length, kind, width, height = _IHDR.unpack_from(data)
    if (signature, length, kind) != (_PNG, 13, b"IHDR"):
        raise PreviewRefused(f"{PREVIEW} is not a PNG")
    if not (1 <= width <= MAX_PREVIEW_SIDE and 1 <= height <= MAX_PREVIEW_SIDE):
        raise PreviewRefused(
            f"{PREVIEW} is {width}x{height} px, and {MAX_PREVIEW_SIDE} a side is the most allowed"
        )
