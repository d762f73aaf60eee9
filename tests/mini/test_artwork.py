"""What npm installed becomes one file of drawings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from mini import artwork
from mini.artwork import CANVAS, CODE_POINTS, HANDS, SETS, folder_of, render_all
from mini.vocabulary import NOUNS

FEW = NOUNS[:3]
TRAINING = [each for each in SETS if each.use == "training"]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages of pictures filed by code point, of three nouns, in every set."""
    monkeypatch.setattr(artwork, "NOUNS", FEW)
    emoji = {chr(0x1F600 + k): {"slug": noun.icon} for k, noun in enumerate(FEW)}
    table = folder_of(CODE_POINTS, tmp_path) / "data-by-emoji.json"
    table.parent.mkdir(parents=True)
    table.write_text(json.dumps(emoji))
    for each in SETS:
        for k in range(len(FEW)):
            drawing = Image.new("RGBA", (40, 40))
            drawing.paste((200, 10 * k, 0, 255), (5, 10, 35, 30))
            picture_of(tmp_path, each.package, k).parent.mkdir(parents=True, exist_ok=True)
            drawing.save(picture_of(tmp_path, each.package, k), lossless=True)
    return tmp_path


def picture_of(root: Path, package: str, k: int) -> Path:
    """Where the package has its k-th noun."""
    return folder_of(package, root) / "assets" / f"{0x1F600 + k:x}.webp"


def test_every_set_has_its_drawings_trimmed_and_their_words(installed: Path) -> None:
    arrays = render_all(installed)
    assert set(arrays) == {name for each in SETS for name in (each.name, f"{each.name}:words")}
    for each in SETS:
        assert arrays[f"{each.name}:words"].tolist() == [noun.word for noun in FEW]
        drawings = arrays[each.name]
        assert drawings.shape == (3, CANVAS, CANVAS, 4)
        opaque = drawings[..., 3].any((0, 1))
        assert opaque.sum() == round(0.96 * CANVAS)  # cut to what is there, with a margin


def test_a_noun_may_be_missing_where_enough_sets_have_it(installed: Path) -> None:
    for each in TRAINING[HANDS:]:
        picture_of(installed, each.package, 1).unlink()
    arrays = render_all(installed)
    assert arrays[f"{TRAINING[-1].name}:words"].tolist() == [FEW[0].word, FEW[2].word]


def test_a_noun_that_too_few_sets_have_is_named(installed: Path) -> None:
    for each in TRAINING[HANDS - 1 :]:
        picture_of(installed, each.package, 1).unlink()
    with pytest.raises(
        ValueError, match=f"fewer than {HANDS} sets have a drawing of {FEW[1].word}"
    ):
        render_all(installed)
