"""Where prism keeps its files. Nothing is created on import, or by asking."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_dir() -> Path:
    """The folder that holds everything: ``PRISM_HOME``, or the platform's place for user data."""
    home = os.environ.get("PRISM_HOME")
    return _at_home(home) if home else Path(platformdirs.user_data_dir("prism"))


def concepts_dir() -> Path:
    """The registry: one ``.prism`` archive a concept."""
    return data_dir() / "concepts"


def unfinished_dir() -> Path:
    """Checkpoints of trainings that have not ended."""
    return data_dir() / "unfinished"


def bases_dir() -> Path:
    """Notes on the bases that were used: where a local one lies, which commit another is at."""
    return data_dir() / "bases"


def captions_cache() -> Path:
    """What captioners have answered, so that nothing is asked twice; safe to delete."""
    return _cache_dir() / "captions"


def verdicts_cache() -> Path:
    """What a judge of pictures has answered, likewise."""
    return _cache_dir() / "verdicts"


def encoders_dir() -> Path:
    """Which commit each encoder of an evaluation is at."""
    return data_dir() / "encoders"


def evaluations_dir() -> Path:
    """What was drawn and measured of each concept."""
    return data_dir() / "evaluations"


def photos_dir() -> Path:
    """Notes on where the photos of trainings lay; no photo."""
    return data_dir() / "photos"


def hub_cache() -> Path:
    """The Hub's cache, which all tools share; huggingface_hub's own variables move it."""
    environ = os.environ
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(variable):
            return _expanded(environ[variable])
    if environ.get("HF_HOME"):
        return _expanded(environ["HF_HOME"]) / "hub"
    return _expanded(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def variable_of(path: Path) -> str | None:
    """The environment variable that moves `path`; None for a place that the user has named."""
    place = path.absolute()
    if place.is_relative_to(hub_cache().absolute()):
        return "HF_HUB_CACHE"
    own = any(place.is_relative_to(each.absolute()) for each in (data_dir(), _cache_dir()))
    return "PRISM_HOME" if own else None


def _cache_dir() -> Path:
    home = os.environ.get("PRISM_HOME")
    return data_dir() / "cache" if home else Path(platformdirs.user_cache_dir("prism"))


def _expanded(folder: str) -> Path:
    return _at_home(os.path.expandvars(folder))


def _at_home(folder: str) -> Path:
    return Path(os.path.expanduser(folder))  # noqa: PTH111 (Path's raises where a user is unknown)
