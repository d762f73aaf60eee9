"""What every test gets: a registry of its own, no network, and the same chance each time."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("COLUMNS", "100")
os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"  # else help has colours where CI asks for them


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the only way in which tests/golden changes."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point prism at an empty folder, and the working directory at another."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("PRISM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(work)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("tests open no connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
