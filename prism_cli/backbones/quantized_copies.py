"""Weights that were quantized once and are kept, beside the notes on bases.

A copy holds the parts that bitsandbytes changes and no other: those are read from where the base
lies. Standard library only, so that copies are listed without torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prism_cli import paths
from prism_cli.errors import storage

KINDS = ("int8", "nf4")  # `runtime.Quantization`'s


def place(revision: str, kind: str) -> Path:
    """Where the copy of a base at `revision` lies, whether it exists or not."""
    return paths.bases_dir() / f"{revision}-{kind}"


def found(revision: str) -> Mapping[str, Path]:
    """The copies that exist: kind -> folder. One that was interrupted does not."""
    places = {kind: place(revision, kind) for kind in KINDS}
    return {kind: folder for kind, folder in places.items() if folder.is_dir()}


def size(folder: Path) -> int:
    """The bytes of a copy."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def written(revision: str, kind: str) -> Iterator[Path]:
    """A folder to write a copy into; it gets its name when the block ends, and is gone if it fails.

    Raises StorageFailed when there is no room or no permission.
    """
    target = place(revision, kind)
    with storage("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
            unfinished = Path(folder) / target.name
            unfinished.mkdir()
            yield unfinished
            unfinished.rename(target)
