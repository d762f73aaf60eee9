"""Captions in files beside the photos: `photo.txt`, `captions.json`, `metadata.jsonl`.

The first is what most trainers read; the last is the Hub's image folder. Where several have a
caption for a photo, the first of them counts, as a person may have edited it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prism_cli.captioners.base import Caption
from prism_cli.errors import CaptionRefused, storage

CAPTIONS, METADATA = "captions.json", "metadata.jsonl"
SIDECAR = "sidecar"  # the source of a caption in photo.txt; of the others it is the file's name
MAX_CAPTION = 8 * 1024  # bytes; a caption is a sentence, and a manifest holds all of a concept's
MAX_TABLE = 16 * 1024 * 1024  # bytes; of a file for the whole folder


@dataclass(frozen=True, slots=True)
class CaptionFiles:
    """The caption files of a folder. strangers: by file, the names in it that no photo has."""

    folder: Path
    tables: Mapping[str, Mapping[str, str]]
    strangers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> CaptionFiles:
        """Read what is there for the whole folder. Raises CaptionRefused or StorageFailed."""
        tables = {CAPTIONS: _captions(folder / CAPTIONS), METADATA: _metadata(folder / METADATA)}
        with storage("read", folder):
            here = {entry.name for entry in folder.iterdir()}
        strangers = {file: sorted(set(table) - here) for file, table in tables.items()}
        return cls(folder, tables, {file: names for file, names in strangers.items() if names})

    def find(self, photo: Path) -> Caption | None:
        """The caption of a photo in the folder, or None. Raises CaptionRefused."""
        own = _sidecar(sidecar_of(photo))
        if own:
            return Caption(own, SIDECAR)
        for file, table in self.tables.items():
            if table.get(photo.name):
                return Caption(table[photo.name], file)
        return None


def sidecar_of(photo: Path) -> Path:
    """`photo.txt` of `photo.jpg`."""
    return photo.with_suffix(".txt")


def _sidecar(path: Path) -> str:
    if not path.is_file():
        return ""
    return one_line(_text(path, MAX_CAPTION), str(path))


def one_line(text: str, where: str) -> str:
    """`text` with a space for every gap. Raises CaptionRefused where it cannot be kept."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:  # half a character, which JSON can spell
        raise CaptionRefused(
            f"a caption in {where} holds half a character", hint="write it anew"
        ) from error
    if size > MAX_CAPTION:
        raise _too_large(where, MAX_CAPTION)
    return " ".join(text.split())


def _captions(path: Path) -> dict[str, str]:
    """`captions.json`: one object, file name to caption."""
    if not path.is_file():
        return {}
    document = _parsed(_text(path, MAX_TABLE), str(path))
    if not isinstance(document, dict):
        raise CaptionRefused(
            f"{path} is not one JSON object", hint='write {"photo.jpg": "a caption", ...}'
        )
    return {name: _said(text, name, str(path)) for name, text in document.items()}


def _metadata(path: Path) -> dict[str, str]:
    """`metadata.jsonl`: an object a line, with `file_name` and `text`."""
    if not path.is_file():
        return {}
    table: dict[str, str] = {}
    for number, line in enumerate(_text(path, MAX_TABLE).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = _parsed(line, where)
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise CaptionRefused(
                f"{where} does not name a file",
                hint='a line is {"file_name": "photo.jpg", "text": "a caption"}',
            )
        if "text" not in row:
            continue  # the Hub's image folders have other columns
        name = row["file_name"].removeprefix("./")
        if name in table:
            raise _twice(name, where)
        table[name] = _said(row["text"], name, where)
    return table


def _said(text: object, name: str, where: str) -> str:
    if not isinstance(text, str):
        raise CaptionRefused(f"the caption of {name!r} in {where} is not text", hint="quote it")
    return one_line(text, where)


def _text(path: Path, most: int) -> str:
    with storage("read", path):
        if path.stat().st_size > most:
            raise _too_large(str(path), most)
        data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CaptionRefused(
            f"{path} is not UTF-8 text", hint="save it again as UTF-8, or move it elsewhere"
        ) from error


def _parsed(text: str, where: str) -> Any:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        seen: dict[str, object] = {}
        for name, value in pairs:
            if name in seen:
                raise _twice(name, where)
            seen[name] = value
        return seen

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CaptionRefused(
            f"{where} is not JSON ({error})", hint="correct it, or move it elsewhere"
        ) from error


def _twice(name: str, where: str) -> CaptionRefused:
    return CaptionRefused(f"{where} has {name!r} twice", hint="keep one of them")


def _too_large(where: str, most: int) -> CaptionRefused:
    return CaptionRefused(
        f"{where} has more than {most // 1024} KiB for a caption"
        if most == MAX_CAPTION
        else f"{where} is larger than {most // 1024} KiB",
        hint="put one sentence a photo into it, or move it elsewhere",
    )
