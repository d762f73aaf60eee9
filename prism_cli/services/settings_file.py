"""A file of settings: TOML with a section for each in `settings.SECTIONS`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from prism_cli.errors import FileMissing, OptionRefused, storage


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in `path` under dotted names; `settings.resolve` checks them.

    Raises FileMissing, or OptionRefused for what is not TOML or lies outside a section.
    """
    if not path.is_file():
        raise FileMissing(
            f"there is no settings file at {path}", hint="give the path of a TOML file"
        )
    with storage("read", path):
        data = path.read_bytes()
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise OptionRefused(
            f"{path} is not TOML: {error}",
            hint="a line is NAME = VALUE, under a section such as [tokens]",
        ) from error
    loose = [name for name, value in document.items() if not isinstance(value, dict)]
    if loose:
        raise OptionRefused(
            f"{path} has {loose[0]!r} outside a section",
            hint="write it under [tokens] or [finetuning]",
        )
    return {f"{section}.{k}": v for section, values in document.items() for k, v in values.items()}
