"""Concepts put into a loaded base: their rows for its prompts, their LoRAs into its layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from prism_cli.backbones.base import Backbone, EncoderRows, Rows, Slot
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.errors import OptionRefused
from prism_cli.method.composition import factors_of, rows_of, state_of
from prism_cli.registry.archive import Archive
from prism_cli.services.concept_archive import (
    check_rows_fit,
    part_slot,
    unpack_lora,
    unpack_rows,
)

Loras = Mapping[str, tuple[Mapping[str, Tensor], float]]
"""name -> its factors under diffusers' keys, and its weight"""

SUM, PER_TOKEN = "sum", "per-token"
METHODS = (SUM, PER_TOKEN)
METHOD_OPTION = "compose.method"  # of a composition, in its manifest


def chosen_method(asked: str | None, archives: Mapping[str, Archive], entry: BaseEntry) -> str:
    """What was asked for, or what a composition among `archives` was made for, or the sum.

    Raises OptionRefused where it cannot be done, before a weight is loaded.
    """
    method = asked or next((each for each in map(_made_for, archives.values()) if each), SUM)
    if method not in METHODS:
        raise OptionRefused(
            f"there is no method {method!r} of drawing", hint=f"use {' or '.join(METHODS)}"
        )
    if method == PER_TOKEN:
        refuse_mixed(entry.id, entry.mixed)
        for name, archive in archives.items():
            _check_separable(name, archive)
    return method


def refuse_mixed(base: str, why: str) -> None:
    """Raise OptionRefused where a base, for a reason, cannot confine a LoRA to its token."""
    if why:
        raise OptionRefused(
            f"{base} cannot confine a LoRA to its token: {why}",
            hint="use --method sum",
        )


def attach(
    backbone: Backbone, archives: Mapping[str, Archive], weights: Mapping[str, float], method: str
) -> Rows:
    """Make `backbone` draw with these concepts; returns their rows, to encode prompts with.

    Raises BaseMismatch if one does not fit the base.
    """
    rows: dict[Slot, EncoderRows] = {}
    for name, archive in archives.items():
        own = unpack_rows(archive)
        check_rows_fit(name, own, backbone)
        rows |= own
    backbone.attach_loras(*attachments(archives, weights, method))
    return rows


def attachments(
    archives: Mapping[str, Archive], weights: Mapping[str, float], method: str
) -> tuple[Loras, Mapping[str, Collection[Slot]] | None]:
    """What `Backbone.attach_loras` takes for these concepts; nothing to confine where none acts."""
    loras: dict[str, tuple[Mapping[str, Tensor], float]] = {}
    slots: dict[str, Collection[Slot]] = {}
    for name, archive in archives.items():
        if method == PER_TOKEN and archive.manifest.parents:
            parts = _parts(archive)
        else:
            parts = {name: (unpack_lora(archive), tuple(unpack_rows(archive)))}
        for part, (state, where) in parts.items():
            if state and weights[name]:  # at 0 it would still have a share of the picture
                loras[part], slots[part] = (state, weights[name]), where
    return loras, slots if method == PER_TOKEN and slots else None


def _parts(archive: Archive) -> dict[str, tuple[dict[str, Tensor], Collection[Slot]]]:
    """Each parent's part of a composition's LoRA, and the token that it belongs to."""
    lora, first = factors_of(unpack_lora(archive)), 0
    found: dict[str, tuple[dict[str, Tensor], Collection[Slot]]] = {}
    for parent in archive.manifest.parents:
        own = state_of(rows_of(lora, first, parent.rank))
        slot = part_slot(archive.manifest.name, parent.name)
        found[f"{archive.manifest.name}:{parent.name}"] = (own, (slot,))
        first += parent.rank
    return found


def _made_for(archive: Archive) -> str | None:
    option = archive.manifest.options.get(METHOD_OPTION)
    return PER_TOKEN if option is not None and option.value == PER_TOKEN else None


def _check_separable(name: str, archive: Archive) -> None:
    manifest = archive.manifest
    if manifest.parents and manifest.lora and not any(p.rank for p in manifest.parents):
        names = " ".join(parent.name for parent in manifest.parents)
        raise OptionRefused(
            f"the LoRAs that {name!r} was merged from cannot be told apart any more",
            hint=f"compose it without --rank: prism compose {names} --method per-token",
        )
