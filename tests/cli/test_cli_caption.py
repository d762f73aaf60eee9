"""`prism caption`: a line a photo on stdout, failures at the end, and files to edit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from prism_cli.services import local_captioner
from tests import gemini as api
from tests.cli.running import call
from tests.cli.worlds import EXAMPLES
from tests.gemini import FakeGemini
from tests.hub import Hub, connected, serving
from tests.tiny_blip import save_tiny_blip

Golden = Callable[[str, str], None]
GEMINI = "gemini:gemini-3.8-flash"


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGemini]:
    """Gemini's server."""
    with api.connected(FakeGemini(), monkeypatch) as fake:
        yield fake


@pytest.fixture(autouse=True)
def photos() -> Path:
    """Two photos, the first with a caption."""
    folder = Path("photos")
    folder.mkdir()
    for name in ("01.png", "01.txt", "05.png"):
        shutil.copy(EXAMPLES / name, folder)
    return folder


def test_a_session(golden: Golden, gemini: FakeGemini) -> None:
    """Look, write, look again; then a photo that is not described."""
    lines = []
    for line, status in (
        ("caption photos", 0),
        ("caption photos --captions gemini --write", 0),
        ("caption photos --captions gemini --write", 0),
        ("caption photos -q", 0),
        ("caption photos --captions gemini --model other --force", 1),
    ):
        if status:
            gemini.otherwise = lambda asked: api.blocked()
        ran = call(*line.split())
        lines += [f"$ prism {line}", ran.stdout + "[stderr]", ran.stderr.rstrip("\n")]
        assert ran.status == status
    golden("caption-session", "\n".join(lines))
    assert Path("photos/05.txt").read_text("utf-8") == f"{api.TRUE}\n"


def test_in_json(gemini: FakeGemini) -> None:
    """One document with every photo in it, whatever became of it, and no key."""
    gemini.otherwise = lambda asked: api.FORBIDDEN
    refused = call("caption", "photos", "--captions", "gemini", "--json")
    gemini.otherwise = lambda asked: api.blocked()
    failed = call("caption", "photos", "--captions", "gemini", "--json")
    gemini.otherwise = lambda asked: api.answers(caption=api.TRUE)
    done = call("caption", "photos", "--captions", "gemini", "--json", "--write")

    assert refused.status == 1 and "error" in json.loads(refused.stdout)
    document = json.loads(failed.stdout)
    assert failed.status == 1
    assert [line["file"] for line in document["captions"]] == ["01.png"]
    [problem] = document["problems"]
    assert problem["file"] == "05.png" and problem["cause"] and problem["hint"]
    document = json.loads(done.stdout)
    assert document["captions"][1] == {
        "file": "05.png",
        "caption": api.TRUE,
        "source": GEMINI,
        "words": 11,
        "written": "photos/05.txt",
    }
    assert document["problems"] == [] and document["command"] == "caption"
    for ran in (refused, failed, done):
        assert api.KEY not in ran.stdout + ran.stderr


def test_pulling_the_local_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder it is all that is done; it is said where it is, and photos are then read."""
    hub = Hub()
    commit = hub.commit(local_captioner.REPOSITORY, save_tiny_blip(tmp_path / "tiny"))
    monkeypatch.setattr(local_captioner, "REVISION", commit)
    with serving(hub), connected(hub, tmp_path / "hub", monkeypatch):
        pulled = call("caption", "--pull")
        again = call("caption", "--pull", "--json")
        read = call("caption", "photos", "--captions", "local", "-q")

    assert pulled.status == again.status == read.status == 0
    assert local_captioner.REPOSITORY in pulled.stdout and commit in pulled.stdout
    assert json.loads(again.stdout)["pulled"]["downloaded"] == 0
    assert read.stdout.splitlines()[1].startswith("05.png\t")


def test_without_a_network_the_next_source_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the practice base describes its own world."""
    hub = Hub()
    with serving(hub), connected(hub, tmp_path / "hub", monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        line = ("photos", "--captions", "local", "--yes")
        read = call("caption", *line)
        trained = call("train", *line, "--name", "zuzu", "--token-steps", "0", "--lora-steps", "0")
        unasked = call("caption", *line[:-1])

    assert read.status == trained.status == 0 and "mini" in read.stdout
    for ran in (read, trained):
        assert "captions come from --captions auto" in ran.stderr
    assert unasked.status == 3 and "prism caption --pull" in unasked.stderr
    assert hub.requests == []


def test_photos_leave_only_when_asked(gemini: FakeGemini) -> None:
    """A key in the environment is no permission."""
    for line in ("caption photos", "caption photos --captions files"):
        assert call(*line.split()).status == 0
    assert gemini.asked == []


def test_quiet_still_says_that_photos_leave(gemini: FakeGemini) -> None:
    ran = call("caption", "photos", "--captions", "gemini", "-q")

    assert ran.stdout.splitlines()[1] == f"05.png\t{api.TRUE}"
    assert ran.stderr.count("leaves this machine for Google") == 1
