"""The registry's commands: list, show, rm, rename, export, import, verify."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prism_cli import paths
from prism_cli.cli import listing, render
from prism_cli.cli.main import app
from prism_cli.cli.options import (
    ConceptName,
    ForceFlag,
    JsonFlag,
    QuietFlag,
    YesFlag,
    complete_concept,
)
from prism_cli.errors import PrismError
from prism_cli.registry.archive import Archive
from prism_cli.registry.container import PREVIEW
from prism_cli.registry.store import Entry, Registry
from prism_cli.services.first_prompt import first_prompt


class SortKey(StrEnum):
    """What a listing is ordered by: name and size from the least, created from the oldest."""

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
    listing.concepts(entries)
    listing.passed_over(registry.passed_over())
    if pictures and render.shows_pictures():
        for entry in entries:
            if entry.problem:
                continue
            try:
                archive = registry.load(entry.name)
            except PrismError as error:  # what the table could not see
                render.hint(f"{entry.name}: {render.printable(error.message)}")
                continue
            render.result(entry.name)
            _show_preview(archive)


@app.command("show")
def show_command(name: ConceptName, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Show one concept: what was learned, from what, and how."""
    render.use(json=json, quiet=quiet)
    registry = _registry()
    archive, entry = registry.load(name), registry.entry(name)
    if json:
        render.document("show", listing.content(entry))
        return
    if quiet:
        render.result(str(entry.path))
        return
    render.facts(listing.described(entry, archive.manifest))
    _show_preview(archive)
    render.hint(f"draw it with: {_draw(entry)}")


@app.command("rm")
def rm_command(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", autocompletion=complete_concept, help="What to delete."),
    ],
    yes: YesFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Delete concepts, with their evaluations."""
    render.use(quiet=quiet)
    registry = _registry()
    doomed = list(dict.fromkeys(names))
    for name in doomed:
        registry.entry(name)  # all of them exist before the first one goes
    if not render.confirmed(f"Delete {', '.join(doomed)}?", yes):
        render.hint("nothing was deleted")
        raise typer.Exit(1)
    from prism_cli.services.forgetting import forget

    forget(doomed)
    for name in doomed:
        render.done(f"{name} is deleted")


@app.command("rename")
def rename_command(
    old: ConceptName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    quiet: QuietFlag = False,
) -> None:
    """Call a concept something else."""
    render.use(quiet=quiet)
    entry = _registry().rename(old, new)
    render.done(f"{old} is now {new}", _draw(entry))


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
    name: Annotated[str | None, typer.Option("--name", help="Keep it under this name.")] = None,
    force: ForceFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Check an archive and add it to the registry."""
    render.use(quiet=quiet)
    entry = _registry().import_file(path, name, replace=force)
    render.result(entry.name)
    render.done(f"{entry.name} is in the registry", _draw(entry))


@app.command("verify")
def verify_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", autocompletion=complete_concept, help="What to check; else all of them."
        ),
    ] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Check archives whole: every member's hash, type and shape."""
    render.use(json=json, quiet=quiet)
    registry = _registry()
    checked = list(dict.fromkeys(names or registry.names()))
    if len(checked) == 1 and not (json or quiet):
        registry.verify(checked[0])  # raises what is wrong, with the way to mend it
    for name in names or ():
        registry.entry(name)  # a name that does not exist is an error, not a finding
    problems: dict[str, str] = {}
    for name in checked:
        try:
            registry.verify(name)
        except PrismError as error:
            problems[name] = error.message
    listing.verified(checked, problems)
    if not names:
        listing.passed_over(registry.passed_over())
    if problems:
        raise typer.Exit(4)


def _registry() -> Registry:
    return Registry(paths.concepts_dir())


def _draw(entry: Entry) -> str:
    if entry.manifest is None:
        return f'prism gen "[{entry.name}]"'
    manifest = entry.manifest
    return f'prism gen "{first_prompt(entry.name, manifest.kind, manifest.base.id)}"'


def _show_preview(archive: Archive) -> None:
    preview = archive.members.get(PREVIEW)
    if preview is not None:
        render.picture(preview)


_SORT = {
    SortKey.NAME: lambda entry: entry.name,
    SortKey.CREATED: lambda entry: entry.manifest.created if entry.manifest else "",
    SortKey.SIZE: lambda entry: entry.size,
}
