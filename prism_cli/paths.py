"""Where prism keeps its files. Nothing is created on import, or by asking."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_dir() -> Path:
    """The folder that holds everything: ``PRISM_HOME``, or the platform's place for user data."""
    home = os.environ.get("PRISM_HOME")
    return Path(home).expanduser() if home else Path(platformdirs.user_data_dir("prism"))


def concepts_dir() -> Path:
    """The registry: one ``.prism`` archive a concept."""
    return data_dir() / "concepts"


def unfinished_dir() -> Path:
    """Checkpoints of trainings that have not ended."""
    return data_dir() / "unfinished"
