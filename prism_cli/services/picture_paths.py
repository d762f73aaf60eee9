"""Where the pictures of `prism gen` go; nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from prism_cli.errors import OptionRefused
from prism_cli.services.early import check_files_free

_OTHER_FORMATS = {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic"}


def picture_paths(
    out: Path | None, names: Iterable[str], seeds: Sequence[int], *, force: bool = False
) -> list[Path]:
    """One for each seed: ``<names>-<seed>.png`` in the folder `out`, or the file that it names.

    A name that is taken gets a number, unless it was given as a file: then NameTaken is raised.
    With `force` every name is free. Raises OptionRefused for a picture file of another format.
    """
    if out is not None and out.suffix.lower() in _OTHER_FORMATS and not out.is_dir():
        raise OptionRefused(
            f"pictures are written as PNG, not as {out.suffix}",
            hint=f"use --out {out.with_suffix('.png')}",
        )
    if out is None or not names_file(out):
        folder, stem = out or Path(), "-".join(names) or "picture"
        wanted = [folder / f"{stem}-{seed}.png" for seed in seeds]
        return wanted if force else [free_path(path) for path in wanted]
    if len(seeds) == 1:
        targets = [out]
    else:
        targets = [out.with_stem(f"{out.stem}-{k}") for k in range(1, len(seeds) + 1)]
    check_files_free(targets, force=force)
    return targets


def names_file(out: Path) -> bool:
    """Whether `--out` is a picture's own name, not that of a folder for pictures."""
    return out.suffix.lower() == ".png" and not out.is_dir()


def free_path(path: Path) -> Path:
    """`path`, or the first of ``-2``, ``-3`` ... that does not exist."""
    tried, number = path, 2
    while tried.exists():
        tried, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return tried
