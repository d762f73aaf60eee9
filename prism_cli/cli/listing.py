"""How the registry's content is printed: as a table, as JSON, or as bare names."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prism_cli.cli import render
from prism_cli.names import as_name
from prism_cli.registry.manifest import Manifest
from prism_cli.registry.store import Entry
from prism_cli.services.events import ended_so

if TYPE_CHECKING:
    from prism_cli.services.bases import BaseInfo, Listing
    from prism_cli.services.downloads import Pulled

_RIGHT = {"photos", "size", "px", "on disk", "download"}


def concepts(entries: Sequence[Entry]) -> None:
    """Print a line for each concept, and why those that cannot be used cannot."""
    if render.style().json:
        render.document("list", {"concepts": [content(entry) for entry in entries]})
    elif render.style().quiet:
        for entry in entries:
            render.result(entry.name)
    elif not entries:
        render.hint("no concepts yet: prism train PHOTOS --name NAME learns one")
    else:
        for line in _lines(entries):
            render.result(line)
        for entry in entries:
            if entry.problem:
                render.hint(
                    f"{entry.name} cannot be used: {render.printable(entry.problem)}"
                    f" (prism verify {entry.name} says what mends it)"
                )


def passed_over(files: Sequence[Path]) -> None:
    """Say of each archive without a concept's name how it gets one."""
    for path in files:
        command = shlex.join(["prism", "import", str(path), "--name", as_name(path.stem) or "NAME"])
        render.hint(
            f"{path.name} is passed over, no concept can have that name: {command}, then delete it"
        )


def verified(names: Sequence[str], problems: Mapping[str, str]) -> None:
    """Print a line for each archive that was checked; only the bad ones' names when quiet."""
    if render.style().json:
        render.document("verify", {"concepts": {name: problems.get(name) for name in names}})
        return
    for name in names:
        if render.style().quiet and name in problems:
            render.result(name)
        elif name in problems:
            render.out().print(
                render.styled((f"{name}: {render.printable(problems[name])}", "red"))
            )
        elif not render.style().quiet:
            render.result(f"{name}: whole")
    if not names:
        render.hint("no concepts to verify")


def bases(known: Listing) -> None:
    """Print a line for each base, and which is the default; only the names when quiet."""
    if render.style().json:
        rows = [asdict(base) for base in known.bases]
        default = {"name": known.default, "why": known.why}
        render.document("bases", {"bases": rows, "default": default})
        return
    if render.style().quiet:
        for base in known.bases:
            render.result(base.name)
        return
    head = ("name", "what", "px", "here", "on disk", "download", "licence", "")
    for line in table([head, *map(_base_cells, known.bases)]):
        render.result(line)
    for base in known.bases:
        if base.problem:
            render.hint(f"{base.name} cannot be used: {base.problem}")
    render.hint(f"without --base: {known.default} ({known.why})")
    if not all(base.here for base in known.bases):
        render.hint("get one with: prism bases pull NAME")


def pulled(base: Pulled) -> None:
    """Print where a base is now; only its folder when quiet."""
    if render.style().json:
        render.document("bases pull", asdict(base))
    elif render.style().quiet:
        render.result(str(base.folder))
    else:
        render.facts(
            {
                "base": base.name,
                "revision": base.revision,
                "folder": f"{base.folder} ({render.size(base.size)})",
                "downloaded": render.size(base.downloaded),
                **({"quantized": str(base.quantized)} if base.quantized else {}),
            }
        )
        if base.downloaded:
            done = f"{base.name} is here and checked"
        else:
            done = f"{base.name} was here already, and is whole"
        render.done(done, f"prism train PHOTOS --name NAME --base {base.name}")


def captioner(model: Pulled) -> None:
    """Print where the local captioner is now; only its folder when quiet."""
    if render.style().json:
        render.document("caption", {"pulled": asdict(model)})
    elif render.style().quiet:
        render.result(str(model.folder))
    else:
        render.facts(
            {
                "captioner": model.repository,
                "revision": model.revision,
                "folder": f"{model.folder} ({render.size(model.size)})",
                "downloaded": render.size(model.downloaded),
            }
        )
        render.done("the local captioner is here", "prism caption PHOTOS --captions local")


def content(entry: Entry) -> dict[str, Any]:
    """Return what --json says of a concept."""
    return {
        "name": entry.name,
        "path": str(entry.path),
        "size": entry.size,
        "problem": entry.problem,
        "manifest": asdict(entry.manifest) if entry.manifest else None,
    }


def _target(manifest: Manifest) -> str:
    rows = f"{manifest.token_length} vector" + ("s" if manifest.token_length > 1 else "")
    start = manifest.options.get("start", manifest.options.get("class"))
    return f"{rows}, started as {start.value!r}" if start and start.value else rows


def described(entry: Entry, manifest: Manifest) -> dict[str, str]:
    """Return what `show` says of a concept, under the names it says it by."""
    trained = [_stage(manifest.metrics, stage) for stage in ("tokens", "lora")]
    changed = [
        f"{name} = {option.value}"
        for name, option in sorted(manifest.options.items())
        if option.source != "default"
    ]
    lora = manifest.lora
    return {
        "name": entry.name,
        "kind": _kind(manifest),
        **({"phrase": manifest.phrase} if manifest.parents else {}),
        "file": f"{entry.path} ({render.size(entry.size)})",
        "created": f"{manifest.created} by prism {manifest.prism_version}",
        "base": f"{manifest.base.id}, revision {manifest.base.revision}",
        "target": _target(manifest),
        "LoRA": f"rank {lora.rank} on {', '.join(lora.targets)}" if lora else "none",
        "training": "\n".join(stage for stage in trained if stage) or "not recorded",
        "settings": ", ".join(changed) or "all defaults",
        "seed": str(manifest.seed),
        "photos": "\n".join(
            f"{photo.sha256[:12]}  {' '.join(photo.caption.split())}" for photo in manifest.photos
        )
        or "none",
    } | (
        {
            "parents": "\n".join(
                f"{p.name}  {p.learned}  {p.kind}, weight {p.weight:g}"
                + (f", {p.rank} of the LoRA's rows" if p.rank else "")
                for p in manifest.parents
            )
        }
        if manifest.parents
        else {}
    )


def _kind(manifest: Manifest) -> str:
    """What a concept is; a composition, and of what."""
    names = ", ".join(parent.name for parent in manifest.parents)
    return f"{manifest.kind} of {names}" if names else manifest.kind


def _stage(metrics: Mapping[str, float | int | str], stage: str) -> str:
    """How a stage went, as far as an archive, perhaps another program's, says."""
    if f"{stage}.steps" not in metrics:
        return ""
    how = ended_so(str(metrics.get(f"{stage}.ended", "ended")))
    said = f"{stage} {how} after {metrics[f'{stage}.steps']} steps"
    first, last = metrics.get(f"{stage}.first"), metrics.get(f"{stage}.last")
    if isinstance(first, int | float) and isinstance(last, int | float):
        said += f", loss {first:.3f} to {last:.3f}"
    return said


def _lines(entries: Sequence[Entry]) -> list[str]:
    head = ("name", "kind", "base", "photos", "size", "created")
    return table([head, *map(_cells, entries)])


def table(rows: Sequence[tuple[str, ...]], right: Collection[str] = _RIGHT) -> list[str]:
    """Rows, the first of them names, in aligned columns; those named in `right` to the right.

    Made without rich: to import it and lay out 100 rows takes longer than to read the registry.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [name in right for name in rows[0]]
    return [
        "  ".join(
            cell.rjust(width) if rightwards else cell.ljust(width)
            for cell, width, rightwards in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def _base_cells(base: BaseInfo) -> tuple[str, ...]:
    return (
        base.name,
        base.what,
        str(base.size or ""),
        ", ".join(["yes", *base.quantized]) if base.here else "no",
        "" if base.disk is None else render.size(base.disk),
        "" if base.here or base.download is None else render.size(base.download),
        base.licence or "",
        "accept first" if base.gated and not base.here else "",
    )


def _cells(entry: Entry) -> tuple[str, ...]:
    manifest = entry.manifest
    if manifest is None or entry.problem:
        return (entry.name, "unusable", "", "", render.size(entry.size), "")
    return (
        entry.name,
        _kind(manifest),
        render.printable(manifest.base.id),
        str(len(manifest.photos)),
        render.size(entry.size),
        _local(manifest.created),
    )


def _local(created: str) -> str:
    """A time in UTC as the user's clock would show it; as it is where no clock could."""
    try:
        return f"{datetime.fromisoformat(created).astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return created
