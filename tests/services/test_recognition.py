"""Who judges pictures: the scorer in its own world, CLIP where it was downloaded, or nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from prism_cli.backbones import catalog
from prism_cli.method.evaluation import likeness
from prism_cli.services.encoder_files import CLIP
from prism_cli.services.recognition import (
    ClipJudge,
    PracticeJudge,
    agreement,
    judge_of,
    own_likeness,
)
from tests.cli.worlds import EXAMPLES
from tests.tiny_encoders import save_tiny_clip


def example(number: int) -> Image.Image:
    with Image.open(EXAMPLES / f"{number:02}.png") as picture:
        return picture.convert("RGB")


def elsewhere() -> catalog.BaseEntry:
    """A base that is not the practice base."""
    return replace(catalog.resolve("mini"), id="owner/photographs", practice=False)


def test_means_by_hand() -> None:
    """Cosines of units, without each with itself; what two distributions share."""
    units = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])

    assert likeness(units[:1], units[1:]) == 0.5
    assert own_likeness(units) == pytest.approx(1 / 3)
    assert own_likeness(units[:1]) == 1.0
    shared = agreement(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0], [0.6, 0.4]]))
    assert shared == pytest.approx(0.7)


def test_the_scorer_judges_the_practice_base() -> None:
    """One thing in two places is more alike than the places without it, and nouns are told."""
    judge = judge_of(catalog.resolve("mini"))
    assert isinstance(judge, PracticeJudge)
    photos = [example(1), example(2)]
    plain = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]

    same = judge.likeness(photos[:1], photos[1:], "subject")
    other = judge.likeness(photos[:1], plain, "subject")

    assert same > other
    nouns = ["dog", "house", "umbrella", "pizza"]
    found = {noun: judge.presence(photos, noun) for noun in nouns}
    assert all(0 <= value <= 1 for value in found.values())
    assert 0 <= judge.presence(photos, "contraption") <= 1  # a noun that it was not asked before
    assert judge.likeness(photos, photos, "style") == pytest.approx(1)


def test_nobody_judges_photographs_without_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No judge is no error."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    assert judge_of(elsewhere()) is None


def test_clip_judges_where_it_was_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in the Hub's cache, whoever put it there."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    commit, place = "0123456789" * 4, tmp_path / f"models--{CLIP.repository.replace('/', '--')}"
    folder = save_tiny_clip(place / "snapshots" / commit)
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)

    judge = judge_of(elsewhere())

    assert isinstance(judge, ClipJudge) and judge.name == CLIP.name
    photos = [example(1), example(2)]
    assert judge.likeness(photos[:1], photos[:1], "subject") == pytest.approx(1, abs=1e-5)
    assert 0 < judge.presence(photos, "dog") < 1
    (folder / "model.safetensors").unlink()
    assert judge_of(elsewhere()) is None
