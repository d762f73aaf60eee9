"""`prism inspect`: the sheet, the leakage, and the photos that are or are not there."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from PIL import Image

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.errors import ConceptNotFound, NameTaken, OptionRefused, PhotosRefused
from prism_cli.registry.archive import pack
from prism_cli.registry.manifest import PhotoRecord
from prism_cli.registry.store import Registry
from prism_cli.services.compose import ComposeRequest, compose
from prism_cli.services.events import Event, Note
from prism_cli.services.inspect import InspectRequest, InspectResult, inspect
from prism_cli.services.photo_files import Decoded, read_picture
from prism_cli.services.photo_notes import remember_folder
from tests.bases import fresh_mini
from tests.cli.worlds import EXAMPLES
from tests.services.concepts import keep


@pytest.fixture(autouse=True)
def _base_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "load", lambda entry, run: fresh_mini())


@pytest.fixture
def photos() -> Path:
    """A concept "dog" whose two photos lie in a folder, among others."""
    folder = Path("photos")
    folder.mkdir()
    for number in (3, 1, 2):
        shutil.copy(EXAMPLES / f"{number:02}.png", folder)
    keep("dog", 1, lora=True)
    registry = Registry(paths.concepts_dir())
    old, records = registry.load("dog"), []
    for number in (2, 1):
        decoded = read_picture(folder / f"{number:02}.png", 64)
        assert isinstance(decoded, Decoded)
        records.append(PhotoRecord(sha256=decoded.sha256, caption="", caption_source="sidecar"))
    manifest = dataclasses.replace(old.manifest, photos=tuple(records))
    registry.add(pack(manifest, old.members), "dog", replace=True)
    return folder


def inspected(**options: object) -> tuple[InspectResult, list[str]]:
    """Inspect in one step; the result and the warnings."""
    events: list[Event] = []
    result = inspect(InspectRequest(**{"name": "dog", "steps": 1, **options}), events.append)  # type: ignore[arg-type]
    return result, [e.text for e in events if isinstance(e, Note) and e.level == "warning"]


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width


def test_without_photos_there_is_no_column_of_them(photos: Path) -> None:
    """Leakage is measured on the concept's own draws, and the user hears of it."""
    shutil.rmtree(photos)
    result, warnings = inspected()

    assert result.measured_on == "draws" and "own draws" in warnings[0]
    assert width(result.sheet) == 3 * 264 + 8
    assert len(result.matrix) == 2 and all(value > 0 for row in result.matrix for value in row)


def test_photos_are_shown_in_the_order_they_were_learned(photos: Path) -> None:
    """The folder that is named has them, found by their hashes; the first row is photo 02."""
    result, warnings = inspected(photos=photos)

    assert result.measured_on == "photos" and not warnings
    assert width(result.sheet) == 4 * 264 + 8
    with Image.open(result.sheet) as sheet, Image.open(photos / "02.png") as photo:
        shown = sheet.crop((8, 8, 264, 264)).resize((16, 16))
        expected = photo.convert("RGB").resize((64, 64), 1).resize((256, 256), 1).resize((16, 16))
        gap = [abs(a - b) for a, b in zip(shown.tobytes(), expected.tobytes(), strict=True)]
    assert sum(gap) / len(gap) < 3


def test_a_remembered_folder_is_found_again(photos: Path) -> None:
    """Where they were learned from on this machine; another file of that name does not count."""
    manifest = Registry(paths.concepts_dir()).load("dog").manifest
    remember_folder(photos, [photo.sha256 for photo in manifest.photos])

    assert inspected()[0].measured_on == "photos"
    shutil.copy(photos / "01.png", photos / "02.png")
    assert inspected(force=True)[0].measured_on == "draws"


def test_the_same_inspection_gives_the_same_numbers(photos: Path) -> None:
    """Noise and times are fixed; a seed changes the draws, not what is measured on photos."""
    one, other = (inspected(photos=photos, seed=seed)[0] for seed in (0, 7))

    assert one.matrix == other.matrix
    assert one.sheet.read_bytes() != other.sheet.read_bytes()


def test_refusals(photos: Path) -> None:
    """An unknown concept, a composition, a folder without the photos, a taken file."""
    keep("ink", 2)
    request = ComposeRequest(names=("dog", "ink"), name="both", preview=False)
    compose(request)

    with pytest.raises(ConceptNotFound):
        inspected(name="dug")
    with pytest.raises(OptionRefused, match="has no residuals") as caught:
        inspected(name="both")
    assert "prism inspect dog, prism inspect ink" in caught.value.hint
    (photos / "01.png").unlink()
    with pytest.raises(PhotosRefused, match="1 of the 2 photos"):
        inspected(photos=photos)
    Path("dog-inspect-0.png").touch()
    with pytest.raises(NameTaken):
        inspected()
