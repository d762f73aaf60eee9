"""The registry's commands: list, show, rm, rename, export, import, verify."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prism_cli import paths
from prism_cli.cli import render
from prism_cli.cli.main import app
from prism_cli.cli.options import (
    ConceptName,
    ForceFlag,
    JsonFlag,
    QuietFlag,
    YesFlag,
    complete_concept,
)
from prism_cli.registry.manifest import Manifest
from prism_cli.registry.store import Entry, Registry


class SortKey(StrEnum):
    """What a listing is ordered by."""

    NAME = "name"
    CREATED = "created"
    SIZE = "size"


@app.command("list")
def list_command(
    sort: Annotated[SortKey, typer.Option(help="Order the listing by this.")] = SortKey.NAME,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Show each preview, on a terminal.")
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """List the concepts."""
    render.use(json=json, quiet=quiet)
    registry = _registry()
    entries = sorted(registry.entries(), key=_SORT[sort])
    render.concepts(entries)
    if pictures:
        for entry in entries:
            if not entry.problem:
                _show_preview(registry, entry.name)


@app.command("show")
def show_command(name: ConceptName, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Show one concept: what was learned, from what, and how."""
    render.use(json=json, quiet=quiet)
    registry = _registry()
    entry = registry.entry(name)
    if json:
        render.document("show", render.entry_content(entry))
        return
    if quiet:
        render.result(str(entry.path))
        return
    if entry.manifest is None or entry.problem:
        registry.verify(name)  # raises what is wrong, with the way to mend it
        return
    render.facts(_described(entry, entry.manifest))
    _show_preview(registry, name)
    render.hint(f'draw it with: prism gen "A [{name}] box"')


@app.command("rm")
def rm_command(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", autocompletion=complete_concept, help="Concepts."),
    ],
    yes: YesFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Delete concepts."""
    render.use(quiet=quiet)
    registry = _registry()
    for name in names:
        registry.entry(name)  # all of them exist before the first one goes
    if not render.confirmed(f"Delete {', '.join(names)}?", yes):
        raise typer.Exit(1)
    for name in names:
        registry.remove(name)
        render.done(f"{name} is deleted")


@app.command("rename")
def rename_command(
    old: ConceptName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    quiet: QuietFlag = False,
) -> None:
    """Call a concept something else."""
    render.use(quiet=quiet)
    _registry().rename(old, new)
    render.done(f"{old} is now {new}", f'prism gen "A [{new}] box"')


@app.command("export")
def export_command(
    name: ConceptName,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PATH", help="A file, or a folder.")
    ] = Path(),
    force: ForceFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Copy a concept's archive out of the registry, to keep it or give it away."""
    render.use(quiet=quiet)
    render.result(str(_registry().export(name, out, replace=force)))


@app.command("import")
def import_command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A .prism archive.")],
    name: Annotated[str | None, typer.Option("--name", help="Keep it under another name.")] = None,
    force: ForceFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Check an archive and add it to the registry."""
    render.use(quiet=quiet)
    entry = _registry().import_file(path, name, replace=force)
    render.result(entry.name)
    render.done(f"{entry.name} is in the registry", f'prism gen "A [{entry.name}] box"')


@app.command("verify")
def verify_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", autocompletion=complete_concept, help="All, if none."),
    ] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Check archives whole: every member's hash, type and shape."""
    from prism_cli.errors import PrismError

    render.use(json=json, quiet=quiet)
    registry = _registry()
    problems: dict[str, str] = {}
    checked = names or registry.names()
    for name in checked:
        try:
            registry.verify(name)
        except PrismError as error:
            problems[name] = error.message
            if len(checked) == 1:
                raise
    if json:
        render.document("verify", {"concepts": {name: problems.get(name) for name in checked}})
    else:
        render.verified(checked, problems)
    if problems:
        raise typer.Exit(4)


def _registry() -> Registry:
    return Registry(paths.concepts_dir())


def _show_preview(registry: Registry, name: str) -> None:
    preview = registry.load(name).members.get("preview.png")
    if preview is not None:
        render.picture(preview)


def _described(entry: Entry, manifest: Manifest) -> dict[str, str]:
    metrics = manifest.metrics
    stages = [
        f"{stage}: {metrics[f'{stage}.steps']} steps, ended by {metrics[f'{stage}.ended']}, "
        f"loss {metrics[f'{stage}.first']:.3f} to {metrics[f'{stage}.last']:.3f}"
        for stage in ("tokens", "lora")
        if f"{stage}.steps" in metrics
    ]
    changed = [
        f"{name} = {option.value}"
        for name, option in sorted(manifest.options.items())
        if option.source != "default"
    ]
    lora = manifest.lora
    return {
        "name": entry.name,
        "kind": manifest.kind,
        "file": f"{entry.path} ({render.size(entry.size)})",
        "created": f"{manifest.created} by prism {manifest.prism_version}",
        "base": f"{manifest.base.id}, revision {manifest.base.revision}",
        "target": f"{manifest.token_length} row" + ("s" if manifest.token_length > 1 else ""),
        "LoRA": f"rank {lora.rank} on {', '.join(lora.targets)}" if lora else "none",
        "training": "\n".join(stages),
        "settings": ", ".join(changed) or "all defaults",
        "seed": str(manifest.seed),
        "photos": "\n".join(f"{p.sha256[:12]}  {p.caption}" for p in manifest.photos),
        **({"parents": ", ".join(p.name for p in manifest.parents)} if manifest.parents else {}),
    }


_SORT = {
    SortKey.NAME: lambda entry: entry.name,
    SortKey.CREATED: lambda entry: entry.modified,
    SortKey.SIZE: lambda entry: entry.size,
}
