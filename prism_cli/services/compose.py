"""`prism compose`: concepts of the registry in, one archive that draws them together out."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from prism_cli import __version__, paths, placeholders
from prism_cli.backbones import merging
from prism_cli.backbones.families import mixed_by
from prism_cli.errors import NameTaken, OptionRefused, PromptRefused
from prism_cli.method import composition
from prism_cli.method.composition import Lora, factorized, rank_of, state_of, weighted_sum
from prism_cli.names import check_name
from prism_cli.placeholders import MOST_WEIGHT
from prism_cli.registry.archive import Archive, pack
from prism_cli.registry.container import LORA, PREVIEW, TOKENS
from prism_cli.registry.manifest import (
    COMPOSITION,
    BaseRef,
    LoraSpec,
    Manifest,
    OptionValue,
    Parent,
)
from prism_cli.registry.store import Registry
from prism_cli.reports.contact_sheet import contact_sheet
from prism_cli.services.attaching import METHOD_OPTION, PER_TOKEN, SUM, refuse_mixed
from prism_cli.services.composed_pictures import draw_composition, sides_of
from prism_cli.services.early import check_drawing
from prism_cli.services.events import Note, OnEvent, ignore
from prism_cli.services.interference import (
    INTERFERENCE,
    Fidelity,
    InterferenceReport,
    fidelities,
    pairs_of,
    report,
    written_interference,
)
from prism_cli.services.parts import Parts, parts_of, phrase_of
from prism_cli.services.pictures import png
from prism_cli.services.recognition import PracticeJudge
from prism_cli.services.trained_base import agreed_base, common_base

METHODS = (SUM, *merging.METHODS, PER_TOKEN)
DENSITY = 0.5
"""Of TIES and DARE: what peft's guide to merging sets out with."""
_FUSED = "what was merged before cannot be drawn by itself"
_UNKNOWN = "only in the practice base's world is it known what a picture ought to show"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeRequest:
    """What the user asked for. weights: one for each name; empty for 1 each.

    preview: whether to draw; None for yes on the practice base, which takes seconds, alone.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...] = ()
    name: str | None = None  # None: the names joined
    phrase: str | None = None  # None: by the kinds of the concepts
    method: str = SUM
    rank: int | None = None  # None: all of it
    density: float | None = None  # of ties and dare
    seed: int | None = None  # of dare; None for 0
    steps: int | None = None  # of the pictures
    preview: bool | None = None
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeResult:
    """What was composed. energy: the share of the merged deltas' energy that the rank keeps.

    path, size: None and 0 of a dry run. preview: a PNG, empty where nothing was drawn.
    """

    name: str
    path: Path | None
    size: int
    base: str
    phrase: str
    method: str
    rank: int
    energy: float
    parents: tuple[Parent, ...]
    interference: InterferenceReport
    preview: bytes


@dataclass(frozen=True, slots=True)
class _Merged:
    lora: Lora
    energy: float
    separable: bool  # whether each parent's rows can still be told


def compose(
    request: ComposeRequest, on_event: OnEvent = ignore, now: datetime | None = None
) -> ComposeResult:
    """Merge concepts into one archive and keep it. `now` is the time that goes into it.

    The base is needed only to draw with. Raises ConceptNotFound, BaseMismatch, OptionRefused,
    PromptRefused, NameTaken, and where it draws BaseNotFound, BaseNotDownloaded, TooLarge.
    """
    weights = _checked(request)
    registry = Registry(paths.concepts_dir())
    archives = {name: registry.load(name) for name in request.names}
    name = check_name("-".join(request.names)[:63] if request.name is None else request.name)
    if name in request.names and not archives[name].manifest.parents and not request.dry_run:
        raise NameTaken(
            f"the composition would replace {name!r}, which it is made of",
            hint="choose another --name",
        )
    if not (request.force or request.dry_run) and name in registry.names():
        raise NameTaken(
            f"there is a concept called {name!r}",
            hint="choose another --name, or replace it with --force",
        )
    base = agreed_base(archives)
    parts = parts_of(archives, weights)
    if request.method == PER_TOKEN:
        refuse_mixed(base.id, mixed_by(base.parameterization))
        if parts.fused:
            raise OptionRefused(
                "a composition among these was merged so that its LoRAs cannot be told apart, "
                "and per-token needs each by itself",
                hint="name the concepts that it is of, or use --method sum",
            )
    phrase = _checked_phrase(request, parts, base.id)
    practice = base.id == "mini"
    drawn = practice if request.preview is None else request.preview
    entry = common_base(archives) if drawn and not request.dry_run else None
    merged = _merge(parts, request)
    archive = _archive(name, archives, parts, merged, phrase, request, now or datetime.now(UTC))
    drawing = None
    fidelity: tuple[Fidelity, ...] = ()
    if entry is not None:
        drawing = draw_composition(
            archive, parts.concepts, entry, request.steps, request.method, on_event
        )
        if practice and not parts.fused:  # whose parts cannot be drawn alone
            judge = PracticeJudge.of(entry)
            fidelity = fidelities(
                judge, parts.concepts, drawing.alone, drawing.composed, sides_of(phrase)
            )
    found = _report(parts, base, fidelity, weights, request.method)
    preview = png(contact_sheet(drawing.composed)) if drawing else b""
    if parts.fused:
        on_event(Note("a part that was merged before is in no pair of the report", "warning"))
    kept = None
    if not request.dry_run:
        members = {**archive.members, **({PREVIEW: preview} if preview else {})}
        metrics = {**archive.manifest.metrics, INTERFERENCE: written_interference(found)}
        data = pack(replace(archive.manifest, metrics=metrics), members)
        kept = registry.add(data, name, replace=request.force)
    return ComposeResult(
        name=name,
        path=kept.path if kept else None,
        size=kept.size if kept else 0,
        base=base.id,
        phrase=phrase,
        method=request.method,
        rank=rank_of(merged.lora),
        energy=merged.energy,
        parents=archive.manifest.parents,
        interference=found,
        preview=preview,
    )


def _checked(request: ComposeRequest) -> dict[str, float]:
    """The weight of each name; OptionRefused for options that contradict each other."""
    names = request.names
    again = next((name for name in names if names.count(name) > 1), None)
    weights = request.weights or (1.0,) * len(names)
    problem, hint = "", "for example: prism compose mydog watercolor --weights 1,0.8"
    if request.method not in METHODS:
        problem = f"there is no method {request.method!r} of composing"
        hint = f"use --method {', '.join(METHODS[:-1])} or {METHODS[-1]}"
    elif len(names) < 2:
        problem = "a composition is of two concepts or more"
    elif again:
        problem = f"{again!r} is named twice"
    elif len(weights) != len(names):
        problem = f"there are {len(weights)} weights for {len(names)} concepts"
    elif not all(abs(weight) <= MOST_WEIGHT for weight in weights):
        problem = f"a weight is between -{MOST_WEIGHT} and {MOST_WEIGHT}"
    elif request.rank is not None and not 1 <= request.rank <= 4096:
        problem = f"--rank must be between 1 and 4096, not {request.rank}"
    elif request.method == PER_TOKEN and request.rank is not None:
        problem = "--rank would merge what per-token keeps apart"
        hint = "leave out --rank, or use --method sum"
    elif request.density is not None and request.method not in merging.METHODS:
        problem = f"--density is of {' and '.join(merging.METHODS)}, not of {request.method}"
        hint = f"leave out --density, or use --method {merging.METHODS[0]}"
    elif request.seed is not None and request.method != "dare":
        problem = f"--seed is of dare's chance, and {request.method} has none"
        hint = "leave out --seed"
    elif request.density is not None and not 0 < request.density < 1:
        problem = f"--density must be between 0 and 1, not {request.density:g}"
    if problem:
        raise OptionRefused(problem, hint=hint)
    check_drawing(request.steps, None)
    return dict(zip(names, weights, strict=True))


def _merge(parts: Parts, request: ComposeRequest) -> _Merged:
    """The one LoRA of all parts: their sum in canonical order, or what the method makes of them."""
    loras = [part.lora for part in parts.concepts] + [lora for lora, _ in parts.fused]
    scales = [part.scale for part in parts.concepts] + [scale for _, scale in parts.fused]
    summed = weighted_sum(loras, scales)
    if request.method in merging.METHODS:
        rank = request.rank or rank_of(summed)
        deltas = {layer: _other_merge(layer, loras, scales, request) for layer in summed}
        return _Merged(*factorized(deltas, rank), separable=False)
    if request.rank is not None and request.rank < rank_of(summed):
        return _Merged(*composition.truncated(summed, request.rank), separable=False)
    return _Merged(summed, 1.0, separable=not parts.fused)


def _other_merge(
    layer: str, loras: Sequence[Lora], scales: Sequence[float], request: ComposeRequest
) -> Tensor:
    acting = [(x[layer].delta, w) for x, w in zip(loras, scales, strict=True) if w and layer in x]
    return merging.merged(
        [delta for delta, _ in acting],
        [w for _, w in acting],
        request.method,
        request.density or DENSITY,
        # every layer has chance of its own, whatever other layers there are
        zlib.crc32(f"{request.seed or 0} {layer}".encode()),
    )


def _checked_phrase(request: ComposeRequest, parts: Parts, base: str) -> str:
    names = {part.name for part in parts.concepts}
    usual = phrase_of(parts.concepts, request.names, base)
    phrase = request.phrase or usual
    mentions = [piece for piece in placeholders.parse(phrase) if not isinstance(piece, str)]
    said = {piece.name for piece in mentions}
    if said != names or any(piece != placeholders.Mention(piece.name) for piece in mentions):
        raise PromptRefused(
            f"the phrase {phrase!r} does not name each concept of the composition, and no other",
            hint=f"for example: --phrase '{usual}'",
        )
    return phrase


def _archive(
    name: str,
    archives: Mapping[str, Archive],
    parts: Parts,
    merged: _Merged,
    phrase: str,
    request: ComposeRequest,
    now: datetime,
) -> Archive:
    """The composition, as it will be kept, without a picture."""
    rank = rank_of(merged.lora)
    parents = tuple(
        Parent(
            name=part.name,
            learned=part.learned,
            weight=part.weight,
            rank=rank_of(part.lora) if merged.separable and part.scale else 0,
            kind=part.kind,
            token_length=len(next(iter(part.target.values()))),
        )
        for part in parts.concepts
    )
    first = next(iter(archives.values())).manifest
    targets = dict.fromkeys(
        target
        for archive in archives.values()
        if archive.manifest.lora
        for target in archive.manifest.lora.targets
    )
    tensors = {
        f"target.{part.name}.{encoder}": rows.contiguous()
        for part in parts.concepts
        for encoder, rows in part.target.items()
    }
    members = {TOKENS: save(tensors)}
    if rank:
        members[LORA] = save(state_of(merged.lora))
    manifest = Manifest(
        name=name,
        kind=COMPOSITION,
        created=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        prism_version=__version__,
        base=first.base,
        token_length=sum(parent.token_length for parent in parents),
        residual_lengths={},
        lora=LoraSpec(rank=rank, alpha=rank, targets=tuple(targets)) if rank else None,
        options=_options(request),
        seed=request.seed or 0,
        photos=(),
        metrics={"compose.energy": merged.energy},
        phrase=phrase,
        parents=parents,
    )
    return Archive(manifest=manifest, members=members)


def _options(request: ComposeRequest) -> dict[str, OptionValue]:
    density = request.density if request.method in merging.METHODS else None
    given = {
        METHOD_OPTION: (request.method, SUM),
        "compose.rank": (request.rank, None),
        "compose.density": (density, None),
        "compose.phrase": (request.phrase, None),
    }
    return {
        name: OptionValue(value=value, source="default" if value == default else "flag")
        for name, (value, default) in given.items()
    }


def _report(
    parts: Parts,
    base: BaseRef,
    found: tuple[Fidelity, ...],
    weights: Mapping[str, float],
    method: str,
) -> InterferenceReport:
    unscored = ""
    if not found:
        practice = base.id == "mini"
        unscored = _FUSED if parts.fused else "nothing was drawn" if practice else _UNKNOWN
    mixed = mixed_by(base.parameterization)
    confinable = method != PER_TOKEN and not mixed and not parts.fused
    pairs = pairs_of(parts.concepts)
    return report(pairs, found, unscored, weights, PER_TOKEN if confinable else "")
