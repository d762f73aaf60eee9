"""compose, inspect, transfer and --kind as they are typed: what is printed, and where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from prism_cli import paths
from prism_cli.backbones import catalog
from tests.bases import fresh_mini
from tests.cli.running import Ran, call
from tests.services.concepts import keep

Golden = Callable[[str, str], None]
NUMBER = re.compile(r"[-+]?[0-9]+\.[0-9]+")


@pytest.fixture(autouse=True)
def _base_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "load", lambda entry, run: fresh_mini())


@pytest.fixture(autouse=True)
def _concepts() -> None:
    for seed, name in enumerate(("mydog", "ink"), start=1):
        keep(name, seed, lora=True)


def reviewed(golden: Golden, name: str, *lines: str) -> list[Ran]:
    """Run the lines and compare all that they print, numbers and sizes aside."""
    ran = [call(*line.split()) for line in lines]
    text = "\n".join(
        f"$ prism {line}\n{each.stdout}[stderr]\n{each.stderr}"
        for line, each in zip(lines, ran, strict=True)
    )
    home = str(paths.data_dir())
    text = re.sub(r" +\n", "\n", NUMBER.sub("N", text.replace(home, "HOME")))
    text = re.sub(r"unet\.[a-z0-9_.]+", "LAYER", text)  # which clash the most is the base's
    text = re.sub(r"residual [0-9] of photo [0-9]", "residual N of photo N", text)  # the base's
    golden(name, re.sub(r"(N|[0-9]+) [kMG]?B", "N", text))
    assert all(each.status == 0 for each in ran)
    return ran


def test_composing(golden: Golden) -> None:
    """What was composed and how the parts interfere, with nothing drawn."""
    reviewed(
        golden,
        "compose",
        "compose mydog ink --weights 1,0.8 --name dogink --no-preview",
        "compose mydog ink --name cut --rank 1 --no-preview",
        "compose mydog ink --dry-run",
        "compose dogink cut --name all --no-preview -q --force",
    )


def test_composing_in_json() -> None:
    """One document, with the whole report in it."""
    document = json.loads(call("compose", "mydog", "ink", "--no-preview", "--json").stdout)

    assert document["command"] == "compose" and Path(document["path"]).is_file()
    (pair,) = document["interference"]["pairs"]
    assert {"one", "other", "cosine", "tokens", "layers", "clashes"} == set(pair)
    assert {"layer", "cosine", "reads", "writes"} == set(pair["layers"][0])


def test_inspecting(golden: Golden) -> None:
    """Where the pictures are and what leaks; a plan first."""
    dry = call("inspect", "mydog", "--dry-run")
    (ran,) = reviewed(golden, "inspect", "inspect mydog --steps 1 --out look")
    document = json.loads(call("inspect", "mydog", "--steps", "1", "--json").stdout)

    assert "nothing was written" in dry.stderr and "mydog-leakage-0.png" in dry.stdout
    assert "mydog-inspect-0.png" in ran.stdout
    assert len(list(Path("look").glob("*.png"))) == 2
    assert len(document["matrix"]) == 2 and document["measured_on"] == "draws"


def test_transferring(golden: Golden) -> None:
    """The sweep with its scores, and the pick; a plan first."""
    dry = call("transfer", "mydog", "box", "wolf", "--dry-run", "--json")
    reviewed(golden, "transfer", "transfer mydog box --weights 1 -n 1 --steps 1 --keep soft")
    document = json.loads(
        call(
            *["transfer", "soft", "box", "--weights", "1", "-n", "1", "--steps", "1", "--json"]
        ).stdout
    )

    assert document["picked"] == 1.0 and len(document["scores"]) == 1
    plan = json.loads(dry.stdout)["plan"]
    assert plan["pictures"] == 24 and len(plan["paths"]) == 4


def test_per_token_is_typed() -> None:
    """gen takes the method, and the picture remembers it."""
    line = ("gen", "[mydog] and [ink]", "--steps", "1", "--seed", "3", "-q")

    summed = call(*line, "--out", "a.png")
    confined = call(*line, "--out", "b.png", "--method", "per-token")
    again = call("gen", "--from", "b.png", "--out", "c.png", "-q")

    assert summed.status == confined.status == again.status == 0
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a != b and b == c
