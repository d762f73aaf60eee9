"""What is checked before a base is downloaded for it; nothing heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prism_cli import paths, placeholders
from prism_cli.errors import (
    FileMissing,
    InvalidName,
    NameTaken,
    OptionRefused,
    PhotosRefused,
    PromptRefused,
    storage,
)
from prism_cli.names import as_name, check_name
from prism_cli.placeholders import Mention, MentionRefused
from prism_cli.registry.archive import Archive
from prism_cli.registry.store import Registry
from prism_cli.settings import checked


def check_folder(folder: Path) -> None:
    """FileMissing where there is no folder of photos, PhotosRefused for a file."""
    with storage("read", folder):
        if folder.is_file():
            raise PhotosRefused(f"{folder} is a file", hint=f"give its folder: {folder.parent}")
        if not folder.is_dir():
            raise FileMissing(f"no folder {folder}", hint="give the folder that holds the photos")


def free_name(folder: Path, name: str | None, *, replace: bool) -> str:
    """What a concept will be called: `name`, else as the folder of its photos is.

    Raises InvalidName, and NameTaken unless `replace`.
    """
    name = _name_of(folder) if name is None else check_name(name)
    if not replace and name in Registry(paths.concepts_dir()).names():
        raise NameTaken(
            f"there is a concept called {name!r}",
            hint="choose another --name, or replace it with --force",
        )
    return name


def check_drawing(steps: int | None, guidance: float | None) -> None:
    """OptionRefused for steps or guidance that no base is drawn with; None is the base's own."""
    for name, value in (("drawing.steps", steps), ("drawing.guidance", guidance)):
        if value is not None:
            checked(name, value)


def check_text(*texts: str | None) -> None:
    """PromptRefused for what a shell has passed on that no text encoder can read."""
    for text in texts:
        placeholders.check_text(text or "")


def check_evaluable(archive: Archive, *, live: bool, own: bool) -> None:
    """OptionRefused for a composition, and for a list of prompts that it cannot have."""
    if archive.manifest.parents:
        raise OptionRefused(
            f"{archive.manifest.name!r} is a composition, and an evaluation is of one concept",
            hint="evaluate what it is of: "
            + ", ".join(f"prism eval {parent.name}" for parent in archive.manifest.parents),
        )
    check_list(archive.manifest.kind, live=live, own=own)


def check_list(kind: str, *, live: bool, own: bool) -> None:
    """OptionRefused for two lists of prompts, `live` and one's `own`, and for another kind's."""
    if live and kind != "subject":
        raise OptionRefused(
            f"--live is for subjects, and it was learned as {kind}", hint="leave out --live"
        )
    if live and own:
        raise OptionRefused(
            "--live chooses a list of prompts, and --prompts gives another",
            hint="leave out one of the two",
        )


def check_varied(folders: Iterable[Path], lengths: Iterable[int], betas: Iterable[float]) -> None:
    """OptionRefused for an ablation of nothing, of values out of range, of folders of one name."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise OptionRefused(
            "two of the folders have the same name", hint="rename one: results go by that name"
        )
    values = [*(("tokens.length", n) for n in lengths), *(("tokens.beta", b) for b in betas)]
    if not values:
        raise OptionRefused("there is nothing to vary", hint="give --lengths or --betas")
    for name, value in values:
        checked(name, value)


def check_files_free(files: Iterable[Path], *, force: bool) -> None:
    """NameTaken for the first of them that is there already, unless `force`."""
    for path in files:
        if path.exists() and not force:
            raise file_taken(path)


def file_taken(path: Path) -> NameTaken:
    """That a file to be written is there already."""
    return NameTaken(f"{path} exists", hint="choose another --out, or replace it with --force")


def read_prompt(prompt: str) -> tuple[str | Mention, ...]:
    """The prompt's pieces; of [My Dog] the hint says how a concept of that name is spelt."""
    try:
        return placeholders.parse(prompt)
    except MentionRefused as error:
        name, colon, rest = error.inside.strip().partition(":")
        meant = as_name(name)
        if meant != name and meant in Registry(paths.concepts_dir()).names():
            raise PromptRefused(
                error.message, hint=f"did you mean [{meant}{colon}{rest}]?"
            ) from error
        raise


def check_prompts(*prompts: str) -> None:
    """PromptRefused, or ConceptNotFound for a concept that one of them names."""
    registry = Registry(paths.concepts_dir())
    for prompt in prompts:
        for name in placeholders.mentioned(read_prompt(prompt)):
            registry.entry(name)


def _name_of(folder: Path) -> str:
    """The folder's own name, made into one that a concept can have."""
    absolute = os.path.abspath(folder)  # noqa: PTH100 (Path.resolve raises where a link loops)
    name = as_name(Path(absolute).name)
    if not name:
        raise InvalidName(
            f"the folder {folder} has no name that a concept could have", hint="add --name NAME"
        )
    return name
