"""A prompt and the concepts in it: found in the registry, checked, and matched to their base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prism_cli import paths, placeholders
from prism_cli.backbones import catalog
from prism_cli.backbones.base import Prompt, Slot
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.errors import PromptRefused
from prism_cli.placeholders import Mention
from prism_cli.registry.archive import Archive
from prism_cli.registry.store import Registry
from prism_cli.services.bases import Ahead, choose
from prism_cli.services.concept_archive import unpack_rows
from prism_cli.services.early import read_prompt
from prism_cli.services.trained_base import common_base

NO_BASE = ("mini", "")  # no picture's base: those have a revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A prompt with the concepts that it names, found and checked against each other.

    weights: of their LoRAs; 0 for a concept that only the negative prompt names, by its tokens.
    """

    prompt: Prompt
    negative: Prompt
    archives: Mapping[str, Archive]
    weights: Mapping[str, float]
    entry: BaseEntry


def read_scene(
    prompt: str,
    negative: str,
    scale: float | None,
    base: str | None,
    otherwise: tuple[str, str] = NO_BASE,
    ahead: Ahead | None = None,
) -> Scene:
    """Find the concepts that the prompts name, and the one base that all of them belong to.

    scale: of every LoRA whose weight no prompt gives. base: what `--base` named, if anything.
    otherwise: id and revision of the base to draw on where no concept and no `--base` says;
    `NO_BASE` for this machine's default. ahead: the base, where a dry run only plans with it.
    Raises ConceptNotFound, PromptRefused, BaseMismatch, BaseNotFound, ArchiveRefused.
    """
    pieces, avoided = read_prompt(prompt), read_prompt(negative)
    registry = Registry(paths.concepts_dir())
    archives = {name: registry.load(name) for name in placeholders.mentioned([*pieces, *avoided])}
    pieces, avoided = (spelt_out(each, archives) for each in (pieces, avoided))
    for piece in (*pieces, *avoided):
        _check_part(piece, archives)
    return Scene(
        prompt=_slots(pieces),
        negative=_slots(avoided),
        archives=archives,
        weights={
            # A LoRA acts on both prompts: that of what is only to be avoided would bring it in.
            name: _weight(name, [*pieces, *avoided], 1.0 if scale is None else scale)
            if name in placeholders.mentioned(pieces)
            else 0.0
            for name in archives
        },
        entry=_base(archives, base, otherwise, ahead),
    )


def spelt_out(
    pieces: Sequence[str | Mention], archives: Mapping[str, Archive]
) -> tuple[str | Mention, ...]:
    """`pieces` with each composition's name replaced by its phrase, of its own tokens."""
    found: list[str | Mention] = []
    for piece in pieces:
        manifest = None if isinstance(piece, str) else archives[piece.name].manifest
        if isinstance(piece, str) or piece.part != "target" or not (manifest and manifest.parents):
            found.append(piece)
        else:
            phrase = placeholders.parse(manifest.phrase)
            found += [
                p if isinstance(p, str) else Mention(piece.name, f"target.{p.name}", piece.weight)
                for p in phrase
            ]
    return tuple(found)


def _base(
    archives: Mapping[str, Archive],
    asked: str | None,
    otherwise: tuple[str, str],
    ahead: Ahead | None,
) -> BaseEntry:
    """The base of every concept; where there is none, the one asked for, or else `otherwise`.

    ahead: of all these the one that is not here.
    """
    if ahead is not None:
        return common_base(archives, ahead.entry) if archives else ahead.entry
    if not archives:
        if asked or otherwise == NO_BASE:
            return choose(asked, cuda=True)[0]
        return catalog.resolve_trained(*otherwise)
    return common_base(archives, choose(asked, cuda=True)[0] if asked else None)


def _slots(pieces: Sequence[str | Mention]) -> Prompt:
    return tuple(p if isinstance(p, str) else Slot(p.name, p.part) for p in pieces)


def _check_part(piece: str | Mention, archives: Mapping[str, Archive]) -> None:
    """A residual or a token that the concept does not have is an error of the prompt."""
    if isinstance(piece, str) or piece.part == "target":
        return
    slot, parents = Slot(piece.name, piece.part), archives[piece.name].manifest.parents
    known = unpack_rows(archives[piece.name])
    if slot in known:
        return
    kind, _, which = piece.part.partition(".")
    if parents or kind == "target":
        names = [parent.name for parent in parents]
        raise PromptRefused(
            f"{piece.name!r} has no token called {which!r}"
            if kind == "target"
            else f"{piece.name!r} is a composition, which has no residuals",
            hint=f"it is composed of {', '.join(f'[{piece.name}:{name}]' for name in names)}"
            if parents
            else f"it is no composition; write [{piece.name}], or [{piece.name}:0.7] for a weight",
        )
    raise PromptRefused(
        f"{piece.name!r} has no {piece.part.replace('.', ' ')}",
        hint=f"its photos are numbered 0 to {len(known) - 2}"
        if len(known) > 1
        else f"it has no residuals; write [{piece.name}]",
    )


def _weight(name: str, pieces: Sequence[str | Mention], scale: float) -> float:
    given = {p.weight for p in pieces if isinstance(p, Mention) and p.name == name} - {None}
    if len(given) > 1:
        raise PromptRefused(
            f"[{name}] has two weights in the prompt",
            hint="a concept's LoRA has one weight in a picture",
        )
    return given.pop() if given else scale  # type: ignore[return-value]  # None was taken out
