"""kill -9 at every step of every write: a concept is the old one or the new one, and whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prism_cli.files import PARTIAL
from prism_cli.registry.store import Registry
from tests.registry.killed import ACTS
from tests.registry.samples import concept

ROOT = Path(__file__).parents[2]

State = dict[str, bytes]

CAT: State = {"cat.prism": concept("cat")}
OLD: State = {"mydog.prism": concept("mydog"), **CAT}
BIRD: State = {**OLD, "bird.prism": concept("bird")}
REX: State = {"rex.prism": concept("rex"), **CAT}

# What each act may leave: the first is the state before it, the last the state after it.
ALLOWED: dict[str, list[State]] = {
    "add": [OLD, BIRD],
    "replace": [OLD, {"mydog.prism": concept("mydog", 8), **CAT}],
    "rename": [OLD, {**OLD, **REX}, REX],
    "import": [OLD, BIRD],
    "remove": [OLD, CAT],
    "export": [{**OLD, "out.prism": b"before"}, {**OLD, "out.prism": concept("cat")}],
}


def state(place: Path) -> State:
    """The concepts of a registry, and what was exported beside it."""
    return {path.name: path.read_bytes() for path in place.rglob("*.prism") if path.stem != "in"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("act", ACTS)
def test_a_killed_write_leaves_the_old_or_the_new(act: str, tmp_path: Path) -> None:
    """Wherever it is cut, the registry lists, each concept is whole, and the next write works."""
    template, out = tmp_path / "template", tmp_path / "out"
    for name in ("mydog", "cat"):
        Registry(template / "concepts").add(concept(name), name)
    (template / "in.prism").write_bytes(concept("anything"))
    if act == "export":
        (template / "out.prism").write_bytes(b"before")
    command = [sys.executable, "-m", "tests.registry.killed", act, str(template), str(out)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)

    places = sorted(out.iterdir())
    states = [state(place) for place in places]
    torn = [place for place in places if list(place.rglob(f"*{PARTIAL}"))]

    assert all(each in ALLOWED[act] for each in states)
    assert all(expected in states for expected in ALLOWED[act])
    assert states[-1] == ALLOWED[act][-1]
    assert bool(torn) == (act != "remove")  # a kill in the middle of the file did happen
    for place in places:
        registry = Registry(place / "concepts")
        assert [entry.problem for entry in registry.entries()] == [None] * len(registry.names())
        registry.add(concept("next"), "next")
        assert not list(registry.folder.glob(f".*{PARTIAL}"))
