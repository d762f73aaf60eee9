"""Ctrl-C and kill -9 in every stage: the registry is as it was, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

from prism_cli.registry.archive import read_archive
from tests.cli.conftest import SHORT
from tests.cli.running import PATIENCE, environment
from tests.cli.worlds import keep, photos

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

COMMAND = ("train", "photos", "--name", "mydog", "--force", "--config", "short.toml")
STOPPED = (
    "error: the training was stopped\n"
    "  run the same command again to go on from its last checkpoint\n"
)
STOPS = (
    ("tokens 2/", signal.SIGINT),
    ("tokens 2/", signal.SIGKILL),
    ("lora 2/", signal.SIGINT),
    ("lora 2/", signal.SIGKILL),
    ("preview 2/", signal.SIGINT),
    ("preview 2/", signal.SIGKILL),
)


class Run(NamedTuple):
    """How a run ended, what it said, and the digests of the concepts that there were then."""

    status: int
    stderr: str
    concepts: dict[str, str]

    @property
    def goes_on(self) -> bool:
        """Whether it said that it goes on from an earlier run."""
        return "going on from where an earlier run of the same command stopped" in self.stderr


def train(alone: Path, *stops: tuple[str, signal.Signals]) -> list[Run]:
    """Train, stopped as told, then to the end, and at last in the home `alone`."""
    told = [f"{mark}:{int(number)}" for mark, number in stops]
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.stopped", str(alone), *told, "--", *COMMAND],
        env=environment(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=PATIENCE,
    )
    return [Run(**json.loads(line)) for line in done.stdout.splitlines()]


def test_a_training_stopped_in_every_stage_goes_on_to_the_same_concept(tmp_path: Path) -> None:
    """Six runs are stopped, each goes on from the last, and the seventh ends as one alone does."""
    photos(Path(), 2)
    Path("short.toml").write_text(SHORT, "utf-8")
    home, other = Path(os.environ["PRISM_HOME"]), tmp_path / "other"
    old = {name: sha256(keep(name).read_bytes()).hexdigest() for name in ("cat", "mydog")}

    *stopped, last, undisturbed = train(other, *STOPS)

    for (mark, number), run in zip(STOPS, stopped, strict=True):
        assert run.status == (130 if number == signal.SIGINT else -number)
        assert mark in run.stderr
        assert run.stderr.endswith(STOPPED) == (number == signal.SIGINT)
        assert run.concepts == old
    assert [run.goes_on for run in (*stopped, last)] == [False] + [True] * len(STOPS)
    assert undisturbed.status == 0 and not undisturbed.goes_on
    assert last.status == 0 and last.concepts.keys() == old.keys()
    assert last.concepts["cat"] == old["cat"]
    resumed, alone = (read_archive(h / "concepts" / "mydog.prism") for h in (home, other))
    assert resumed.members == alone.members
    assert not list((home / "unfinished").iterdir())
