"""The results file of an ablation: a line of JSON a finished cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from prism_cli.errors import Refused, storage
from prism_cli.files import locked, write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A finished cell. protocol: of its concept, by all that was asked for but the cell.

    machine: what it ran on, as `Prepared.machine`; it moves the scores by rounding. scores: by
    name.
    """

    concept: str
    length: int
    beta: float
    seed: int
    protocol: str
    machine: str
    scores: Mapping[str, float]
    seconds: float

    @property
    def key(self) -> tuple[str, int, float, int]:
        """That of its cell."""
        return (self.concept, self.length, self.beta, self.seed)


def read_rows(path: Path, protocols: Mapping[str, str]) -> list[Row]:
    """The rows of a results file that follow their concept's protocol, of those that have one.

    Refused if it is something else.
    """
    return [row for row in _all_rows(path) if row.protocol == protocols.get(row.concept)]


def ensure_writable(path: Path) -> None:
    """Raise StorageFailed where no results file can be kept, before hours go into a row."""
    with _held(path):
        write_whole(path, _text(_all_rows(path)))


def add_row(path: Path, row: Row) -> None:
    """Put a finished cell into the file, beside those that other processes have put there.

    Raises Refused if it is something else, StorageBusy.
    """
    with _held(path):
        others = [r for r in _all_rows(path) if (r.protocol, r.key) != (row.protocol, row.key)]
        write_whole(path, _text([*others, row]))


def _held(path: Path) -> AbstractContextManager[None]:
    return locked(path.with_name(f".{path.name}.lock"), path)


def _text(rows: Sequence[Row]) -> bytes:
    lines = (json.dumps(asdict(replace(row, scores=dict(row.scores)))) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _all_rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with storage("read", path):
        data = path.read_bytes()
    try:
        return [_row(json.loads(line)) for line in data.decode("utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise Refused(
            f"{path} is not a results file of prism ablate ({error})", hint="give another --out"
        ) from error


def _row(content: Any) -> Row:
    """Raises TypeError for what is no row."""
    row = Row(**content)
    for name, kind in _KINDS.items():
        value = getattr(row, name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{value!r} as {name}")
    if not all(isinstance(score, float) for score in row.scores.values()):
        raise TypeError(f"{row.scores!r} as scores")
    return row


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("concept", "protocol", "machine"), str),
    **dict.fromkeys(("length", "seed"), int),
    **dict.fromkeys(("beta", "seconds"), (int, float)),
    "scores": dict,
}
