"""What a composition is made of: concepts of the registry, compositions taken apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from prism_cli import placeholders
from prism_cli.backbones.base import EncoderRows
from prism_cli.backbones.families import in_style_on, style_alone_on
from prism_cli.errors import OptionRefused
from prism_cli.method.composition import Factors, Lora, factors_of, rows_of
from prism_cli.registry.archive import Archive
from prism_cli.services.concept_archive import part_slot, unpack_lora, unpack_rows, unpack_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One concept of a composition. weight: of its LoRA in the whole.

    lora: its delta at `scale` 1; of a concept out of a composition, the weight it had there is in
    it already.
    """

    name: str
    learned: str
    kind: str
    weight: float
    scale: float
    target: EncoderRows
    lora: Lora


@dataclass(frozen=True, slots=True)
class Parts:
    """Concepts in the order of their names, and LoRAs that cannot be told apart by concept.

    fused: of compositions that were truncated or merged otherwise, with a scale each.
    """

    concepts: tuple[Part, ...]
    fused: tuple[tuple[Lora, float], ...]


def parts_of(archives: Mapping[str, Archive], weights: Mapping[str, float]) -> Parts:
    """The concepts of `archives`, a composition's each for itself, in the order of their names.

    Raises OptionRefused where two cannot be in one.
    """
    concepts: dict[str, Part] = {}
    fused: list[tuple[Lora, float]] = []
    for name, archive in sorted(archives.items()):
        for part in _opened(archive, weights[name]):
            _check_addressable(part)
            same = concepts.get(part.name)
            concepts[part.name] = part if same is None else _joined(same, part)
        if _is_fused(archive):
            fused.append((factors_of(unpack_lora(archive)), weights[name]))
    return Parts(tuple(concepts[name] for name in sorted(concepts)), tuple(fused))


def _opened(archive: Archive, weight: float) -> list[Part]:
    manifest = archive.manifest
    if not manifest.parents:
        return [
            Part(
                name=manifest.name,
                learned=manifest.learned,
                kind=manifest.kind,
                weight=weight,
                scale=weight,
                target=unpack_tokens(archive).target,
                lora=factors_of(unpack_lora(archive)),
            )
        ]
    rows, found, first = unpack_rows(archive), [], 0
    lora = {} if _is_fused(archive) else factors_of(unpack_lora(archive))
    for parent in manifest.parents:
        found.append(
            Part(
                name=parent.name,
                learned=parent.learned,
                kind=parent.kind,
                weight=weight * parent.weight,
                scale=weight,
                target=rows[part_slot(manifest.name, parent.name)],
                lora=rows_of(lora, first, parent.rank),
            )
        )
        first += parent.rank
    return found


def _is_fused(archive: Archive) -> bool:
    parents = archive.manifest.parents
    return bool(parents and archive.manifest.lora and not any(p.rank for p in parents))


def _joined(one: Part, other: Part) -> Part:
    """One concept that came in twice, by itself and in a composition: its weights add up."""
    if one.learned != other.learned:
        raise OptionRefused(
            f"two different concepts called {one.name!r} would meet in one composition",
            hint=f"compose the older one again, or rename one: prism rename {one.name} NEW",
        )
    layers = one.lora.keys() | other.lora.keys()
    lora = {}
    for layer in sorted(layers):
        halves = [(p.lora[layer], p.scale) for p in (one, other) if layer in p.lora]
        lora[layer] = Factors(halves[0][0].A, sum((s * f.B for f, s in halves), torch.zeros(1)))
    return replace(one, weight=one.weight + other.weight, scale=1.0, lora=lora)


def _check_addressable(part: Part) -> None:
    if not placeholders.is_part(part.name):
        raise OptionRefused(
            f"a concept called {part.name!r} cannot be in a composition, since [name:{part.name}] "
            "means something else in a prompt",
            hint=f"give it another name: prism rename {part.name} NEW",
        )


def phrase_of(concepts: Sequence[Part], order: Sequence[str], base: str) -> str:
    """What a composition's name stands for: its subjects, what they do, and in which style.

    order: names as they were given, compositions among them; a concept out of one stands where
    nothing else says. base: its id, by which styles are said.
    """
    place = {name: k for k, name in enumerate(order)}
    ordered = sorted(concepts, key=lambda part: place.get(part.name, len(place)))
    named = {
        kind: [f"[{part.name}]" for part in ordered if part.kind == kind]
        for kind in ("subject", "action", "style")
    }
    said = (" next to ".join(named["subject"]), " and ".join(named["action"]))
    thing = " ".join(words for words in said if words)
    if not named["style"]:
        return thing
    template = in_style_on(base).replace("{}", thing) if thing else style_alone_on(base)
    return template.replace("*", " and ".join(named["style"]))
