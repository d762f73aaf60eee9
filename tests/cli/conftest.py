"""A terminal that is the same everywhere, golden files, and one concept that was really learned."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.running import Ran, call
from tests.cli.worlds import photos

GOLDEN = Path(__file__).parents[1] / "golden"

# As little as goes through every stage.
SHORT = """
[tokens]
steps = 3
batch = 1
evaluation_times = 1
[finetuning]
steps = 3
batch = 1
evaluation_times = 1
[drawing]
steps = 3
"""


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fix what the width, the colours, the clock and the language of an output depend on."""
    for name, value in {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "TZ": "UTC"}.items():
        monkeypatch.setenv(name, value)
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    if hasattr(time, "tzset"):  # Windows has none
        time.tzset()


@pytest.fixture
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], None]:
    """Compare a text with tests/golden/NAME.txt, or write that file with --update-golden."""

    def compare(name: str, text: str) -> None:
        text = text.replace(str(tmp_path.resolve()), "TMP").replace(str(tmp_path), "TMP")
        text = re.sub(
            r"\b(?=[a-z]*[0-9])[0-9a-f]{12,16}\b", "DIGEST", text
        )  # of weights, of versions
        text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--update-golden"):
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8")

    return compare


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ran, Path]]:
    """A training of a few steps a stage: what it printed, and its home."""
    place = tmp_path_factory.mktemp("learned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRISM_HOME", str(place / "home"))
        patch.chdir(place)
        photos(place, 2)
        Path("short.toml").write_text(SHORT, "utf-8")
        ran = call("train", "photos", "--name", "mydog", "--config", "short.toml")
    yield ran, place / "home"


@pytest.fixture
def home(learned: tuple[Ran, Path]) -> Path:
    """A registry of the test's own that holds the learned concept, photos and short.toml."""
    copy = Path(os.environ["PRISM_HOME"])
    shutil.copytree(learned[1], copy)
    photos(Path(), 2)
    Path("short.toml").write_text(SHORT, "utf-8")
    return copy
