"""Options that several commands share, with their types and completions."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import Annotated

import typer


class Kind(StrEnum):
    """What is learned: a thing, a way to draw, or something done."""

    SUBJECT = "subject"
    STYLE = "style"
    ACTION = "action"


def complete_concept(incomplete: str) -> list[str]:
    """The names in the registry that begin like `incomplete`; only file names are read."""
    from prism_cli import paths
    from prism_cli.errors import PrismError
    from prism_cli.registry.store import Registry

    try:
        names = Registry(paths.concepts_dir()).names()
    except PrismError:
        return []  # a completion has nowhere to say what is wrong
    return [name for name in names if name.startswith(incomplete)]


def complete_prompt(incomplete: str) -> list[str]:
    """The prompt so far with its open bracket completed: ``A [my`` gives ``A [mydog]``.

    After a composition's name and a colon, with one of its tokens.
    """
    before, bracket, begun = incomplete.rpartition("[")
    if not bracket or "]" in begun:
        return []
    name, colon, part = begun.partition(":")
    if colon:
        return [f"{before}[{name}:{each}]" for each in _parents(name) if each.startswith(part)]
    return [f"{before}[{name}]" for name in complete_concept(begun)]


def _parents(name: str) -> list[str]:
    """What a composition is of; empty for what is none, or cannot be read."""
    from prism_cli import paths
    from prism_cli.errors import PrismError
    from prism_cli.registry.store import Registry

    try:
        manifest = Registry(paths.concepts_dir()).entry(name).manifest
    except PrismError:
        return []
    return [parent.name for parent in manifest.parents] if manifest else []


def complete_base(incomplete: str) -> list[str]:
    """The bases that have a name of their own; a path is completed by the shell."""
    from prism_cli.services.bases import short_names

    return [name for name in short_names() if name.startswith(incomplete)]


ConceptName = Annotated[
    str, typer.Argument(metavar="NAME", help="A concept's name.", autocompletion=complete_concept)
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
QuietFlag = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print names or paths only, no progress.")
]
StepsOption = Annotated[int | None, typer.Option(help="Denoising steps; else the base's.")]
GuidanceOption = Annotated[
    float | None, typer.Option(help="Classifier-free guidance; else the base's.")
]
DrawingDryRunFlag = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what would be drawn, the time and the room it takes."),
]
YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
YesDownloadFlag = Annotated[
    bool, typer.Option("--yes", "-y", help="Download a base that is not here without asking.")
]
ForceFlag = Annotated[
    bool,
    typer.Option(
        "--force", help="Replace what has that name; the old one stays until the new one is whole."
    ),
]
CompileFlag = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the denoiser's blocks: slow to start, and may pay later.",
    ),
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="BASE",
        help="A name from `prism bases`, OWNER/NAME of the Hub, or a pipeline's folder.",
        autocompletion=complete_base,
    ),
]


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Numbers with commas between them: ``1,0.8``."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(map(isfinite, values)):
        raise typer.BadParameter(f"{text!r} is not numbers such as 1,0.8", param_hint=f"'{option}'")
    return values
