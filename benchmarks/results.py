"""What a long benchmark has found: a file that it goes on from, and that processes share."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Part = TypeVar("Part")
Finding = dict[str, Any]
WHOLE = "1/1"  # all of a benchmark


class Results:
    """Findings by key, each a line of JSON behind a first line with the run's settings.

    A line is appended as soon as it is found; one that was cut short is found again. Raises
    SystemExit where the file is of other settings.
    """

    def __init__(self, path: Path, settings: Finding) -> None:
        self.path = path
        self.found: dict[str, Finding] = {}
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        if not lines:
            self._append({"settings": settings})
        elif (known := json.loads(lines[0])["settings"]) != json.loads(json.dumps(settings)):
            raise SystemExit(f"{path} is of another run: {known}")
        for line in lines[1:]:
            try:
                record = json.loads(line)
            except ValueError:
                print(f"{path}: a line was cut short and is left out: {line[:60]}")
                continue
            self.found |= record if "settings" not in record else {}

    def once(self, key: str, make: Callable[[], Finding]) -> Finding:
        """What was found under `key`, or what `make` finds now."""
        if key not in self.found:
            found = make()
            self.found[key] = found
            self._append({key: found})
            print(key, json.dumps(found), flush=True)
        return self.found[key]

    def find(self, jobs: Mapping[str, Callable[[], Finding]], part: str) -> None:
        """Do the jobs of a part that are not done yet."""
        for key, make in part_of(list(jobs.items()), part):
            self.once(key, make)

    def _append(self, record: Finding) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
            whole = file.read(1) in (b"", b"\n")
            file.write(b"" if whole else b"\n")
            file.write(f"{json.dumps(record)}\n".encode())


def digest(path: Path) -> str:
    """What tells one file from another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def add_part(parser: argparse.ArgumentParser) -> None:
    """The option with which several processes do a benchmark together."""
    parser.add_argument(
        "--part", default=WHOLE, metavar="K/N", help="do only the K-th of N parts, into one file"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The option that changes the recipe."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the recipe",
    )


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """What `--set` says, by setting."""
    return {name: json.loads(value) for name, value in (text.split("=", 1) for text in args.set)}


def part_of(every: Sequence[Part], part: str) -> Sequence[Part]:
    """Those that ``"K/N"`` names: each N-th from the K-th on."""
    k, n = (int(number) for number in part.split("/"))
    if not 1 <= k <= n:
        raise SystemExit(f"--part {part}: K is from 1 to N")
    return every[k - 1 :: n]
