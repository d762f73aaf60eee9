"""The results file of an ablation: a line of JSON a finished cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from prism_cli.errors import Refused, storage
from prism_cli.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A finished cell. protocol: of its concept, by all that its scores depend on but the cell.

    scores: by name.
    """

    concept: str
    length: int
    beta: float
    seed: int
    protocol: str
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
    if not path.exists():
        return []
    with storage("read", path):
        data = path.read_bytes()
    try:
        rows = [Row(**json.loads(line)) for line in data.decode("utf-8").splitlines()]
        return [row for row in rows if _follows(row, protocols)]
    except (ValueError, TypeError) as error:
        raise Refused(
            f"{path} is not a results file of prism ablate ({error})", hint="give another --out"
        ) from error


def write_rows(path: Path, protocols: Mapping[str, str], rows: Sequence[Row]) -> None:
    """The file whole again: with the rows that it held and `read_rows` passes over."""
    others: list[str] = []
    if path.exists():
        with storage("read", path):
            lines = path.read_text("utf-8").splitlines()
        others = [line for line in lines if not _follows(Row(**json.loads(line)), protocols)]
    mine = [json.dumps(asdict(replace(row, scores=dict(row.scores)))) for row in rows]
    write_whole(path, "".join(f"{line}\n" for line in (*others, *mine)).encode())


def _follows(row: Row, protocols: Mapping[str, str]) -> bool:
    return row.protocol == protocols.get(row.concept)
