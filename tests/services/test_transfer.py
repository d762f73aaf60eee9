"""`prism transfer`: the sweep, the grids, the pick, and what is kept."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.errors import (
    BaseNotDownloaded,
    ConceptNotFound,
    FileMissing,
    NameTaken,
    OptionRefused,
    PrismError,
    PromptRefused,
)
from prism_cli.method.composition import factors_of
from prism_cli.registry.archive import pack
from prism_cli.registry.store import Registry
from prism_cli.reports.contact_sheet import contact_sheet
from prism_cli.services import transfer as module
from prism_cli.services.compose import ComposeRequest, compose
from prism_cli.services.concept_archive import unpack_lora
from prism_cli.services.generate import DrawRequest, generate
from prism_cli.services.recognition import PracticeJudge
from prism_cli.services.transfer import Score, TransferRequest, TransferResult, transfer
from tests.bases import fresh_mini
from tests.services.concepts import keep


@pytest.fixture(autouse=True)
def _base_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "load", lambda entry, run: fresh_mini())


def moved(**options: Any) -> TransferResult:
    """Move "book" onto a box and a wolf, in one step."""
    asked = {"name": "book", "nouns": ("box", "wolf"), "count": 1, "steps": 1, **options}
    return transfer(TransferRequest(**asked))


def refused(kind: type[PrismError], **options: Any) -> PrismError:
    with pytest.raises(kind) as caught:
        moved(**options)
    assert not list(Path().glob("*.png")) and caught.value.hint
    return caught.value


def test_a_grid_for_each_weight() -> None:
    """References on the left, a column a noun, a row a seed; scores of every cell."""
    keep("book", 1, lora=True)

    result = moved(weights=(0.4, 1.0), count=2)

    assert [path.name for path in result.grids] == [
        "book-transfer-0.4-0.png",
        "book-transfer-1-0.png",
    ]
    with Image.open(result.grids[0]) as one, Image.open(result.grids[1]) as other:
        assert one.size == (3 * 200 + 8, 22 + 2 * 200 + 8)
        assert one.tobytes() != other.tobytes()
    assert [(s.weight, s.noun) for s in result.scores] == [
        *((0.4, "box"), (0.4, "wolf")),
        *((1.0, "box"), (1.0, "wolf")),
    ]
    assert result.picked in (0.4, 1.0) and result.judge and not result.unscored


def test_the_pick_has_both_concept_and_noun() -> None:
    """The largest mean product: one without the other counts for nothing."""

    def score(weight: float, likeness: float, presence: float) -> Score:
        return Score(weight=weight, noun="box", likeness=likeness, presence=presence)

    assert module._pick([score(0.4, 0.1, 0.9), score(0.7, 0.6, 0.6), score(1.0, 0.9, 0.1)]) == 0.7
    assert module._pick([score(0.4, -0.9, 1.0), score(1.0, 0.1, 0.1)]) == 1.0
    assert module._pick([]) is None


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [
        ("subject", "a photo of [book:0.7] box"),
        ("style", "[book:0.7] picture of a box"),
        ("action", "a box [book:0.7]"),
    ],
)
def test_the_template_is_that_of_the_kind(kind: str, prompt: str) -> None:
    """The paper's for a subject, else as previews say it: a cell is the picture that gen draws."""
    keep("book", 1, lora=True, kind=kind)
    grid = moved(nouns=("box",), weights=(0.7,), seed=3).grids[0]
    drawn = generate(DrawRequest(prompt=prompt, seed=3, steps=1))

    with Image.open(grid) as sheet, Image.open(drawn.pictures[0].path) as picture:
        cell = sheet.crop((208, 30, 400, 222))
        expected = picture.convert("RGB").resize((192, 192), Image.Resampling.LANCZOS)
        gaps = [abs(a - b) for a, b in zip(cell.tobytes(), expected.tobytes(), strict=True)]
    assert max(gaps) <= 2


def test_what_is_kept_is_the_concept_at_the_weight() -> None:
    """Its delta is the weighted one; tokens and residuals are the same."""
    keep("book", 1, lora=True)

    result = moved(weights=(0.5,), keep="soft")

    registry = Registry(paths.concepts_dir())
    old, new = registry.load("book"), registry.load("soft")
    assert result.kept == registry.entry("soft").path
    before, after = factors_of(unpack_lora(old)), factors_of(unpack_lora(new))
    for layer, factors in after.items():
        torch.testing.assert_close(factors.delta, 0.5 * before[layer].delta)
    assert new.members["tokens.safetensors"] == old.members["tokens.safetensors"]
    assert new.manifest.metrics["transfer.weight"] == 0.5
    with Image.open(io.BytesIO(new.members["preview.png"])) as preview:
        assert preview.width == contact_sheet([preview] * 2).width  # a box and a wolf


def test_without_a_judge_the_sweep_is_drawn_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, picks nothing, and keeps only a weight that was given."""
    keep("book", 1, lora=True)
    monkeypatch.setattr(module, "judge_of", lambda entry: None)
    monkeypatch.setattr(module, "judged", lambda base: False)

    error = refused(OptionRefused, keep="soft")
    result = moved(weights=(0.5,), keep="soft")

    assert "--weights 0.7 --keep soft" in error.hint
    assert result.grids[0].is_file() and result.kept is not None
    assert (result.scores, result.picked) == ((), None) and "prism eval" in result.unscored


def test_where_nothing_comes_through_none_is_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none kept, but for a weight that was given; the grids are there to be looked at."""
    keep("book", 1, lora=True)
    monkeypatch.setattr(PracticeJudge, "likeness", lambda *args: -0.1)

    result = moved(weights=(0.5, 1.0), keep="soft")

    assert (result.picked, result.kept) == (None, None) and "come through" in result.unscored
    assert all(grid.is_file() for grid in result.grids)
    assert "soft" not in Registry(paths.concepts_dir()).names()
    assert moved(weights=(0.5,), keep="soft", force=True).kept is not None


def test_where_nobody_can_judge_no_base_is_asked_for_first() -> None:
    """The refusal is for what is here; a base that is not would only be fetched in vain."""
    keep("book", 1, lora=True, base="owner/photographs", revision="0" * 40)

    refused(OptionRefused, keep="soft")
    refused(OptionRefused, steps=0)
    refused(FileMissing, photos=Path("nowhere"))
    refused(BaseNotDownloaded, weights=(0.5,), keep="soft")


def test_refusals() -> None:
    """Compositions, no LoRA to sweep, templates without places, names that are taken."""
    keep("book", 1, lora=True)
    keep("plain", 2)
    compose(ComposeRequest(names=("book", "plain"), name="both", preview=False))

    refused(ConceptNotFound, name="bok")
    assert "composition" in refused(OptionRefused, name="both").message
    assert "--weights 1" in refused(OptionRefused, name="plain").hint
    refused(OptionRefused, name="plain", weights=(1.0,), keep="soft")
    refused(OptionRefused, weights=(99.0,))
    refused(OptionRefused, count=999)
    refused(OptionRefused, nouns=())
    refused(OptionRefused, nouns=("box", " "))
    refused(OptionRefused, keep="book", force=True)
    refused(PromptRefused, nouns=("\udcff",))
    for template in ("a box", "* and * {noun}", "a photo of *"):
        assert "{noun}" in refused(PromptRefused, template=template).hint
    refused(NameTaken, keep="plain")
    Path("book-transfer-0.4-0.png").touch()
    with pytest.raises(NameTaken):
        moved()
    assert dataclasses.asdict(moved(force=True, weights=(0.4,)))["picked"] == 0.4


def test_a_preview_that_is_damaged_stops_nothing() -> None:
    """The concept's own draw is the reference then; everything was drawn before it was read."""
    keep("book", 1, lora=True)
    archive = Registry(paths.concepts_dir()).load("book")
    damaged = archive.members["preview.png"][:33] + bytes(64)
    data = pack(archive.manifest, {**archive.members, "preview.png": damaged})
    Registry(paths.concepts_dir()).add(data, "book", replace=True)

    assert moved(weights=(0.7,)).grids[0].is_file()
