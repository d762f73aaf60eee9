"""The example pictures: what is committed is what the script draws, and prism can learn from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

EXAMPLES = Path(__file__).parents[1] / "examples"
PICTURES = [f"{concept}/{n:02}.png" for concept in ("zuzu", "harlequin") for n in range(1, 6)]
ANTIALIASING = 2.0  # of 255, mean per channel: another Pillow may place an edge differently


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a folder by running the script as a user would."""
    folder = tmp_path_factory.mktemp("examples")
    script = EXAMPLES / "make_examples.py"
    subprocess.run([sys.executable, script, folder], check=True)
    return folder


def relative_files(folder: Path, pattern: str) -> list[str]:
    """List the files one level down that match `pattern`, as posix paths below `folder`."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"*/{pattern}"))


@pytest.mark.parametrize("name", PICTURES)
def test_committed_picture_is_what_the_script_draws(drawn: Path, name: str) -> None:
    """Drawing again gives the committed pixels, up to the antialiasing of edges."""
    with Image.open(EXAMPLES / name) as committed, Image.open(drawn / name) as again:
        difference = ImageChops.difference(committed.convert("RGB"), again.convert("RGB"))

    assert max(ImageStat.Stat(difference).mean) <= ANTIALIASING


@pytest.mark.parametrize("name", PICTURES)
def test_committed_caption_is_what_the_script_writes(drawn: Path, name: str) -> None:
    """Each caption on disk is the one in the script."""
    caption = Path(name).with_suffix(".txt")

    assert (EXAMPLES / caption).read_text("utf-8") == (drawn / caption).read_text("utf-8")


def test_two_folders_of_five_pictures_are_shipped() -> None:
    """There are five pictures of each concept and no others."""
    assert relative_files(EXAMPLES, "*.png") == sorted(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_512_px_rgb(name: str) -> None:
    """Every picture has the size that the photographic bases work at."""
    with Image.open(EXAMPLES / name) as picture:
        assert (picture.size, picture.mode) == ((512, 512), "RGB")


@pytest.mark.parametrize("concept", ["zuzu", "harlequin"])
def test_captions_leave_out_what_is_learned(concept: str) -> None:
    """No word but an article is in all of a concept's captions; docs/method.md says why."""
    captions = [path.read_text("utf-8").split() for path in (EXAMPLES / concept).glob("*.txt")]

    assert len(captions) == 5
    assert set.intersection(*map(set, captions)) <= {"a"}


@pytest.mark.parametrize("name", PICTURES)
def test_caption_does_not_name_the_concept(name: str) -> None:
    """The invented name is what training has to give a meaning to, so no caption uses it."""
    caption = (EXAMPLES / name).with_suffix(".txt").read_text("utf-8")

    assert Path(name).parent.name not in caption.lower()


@pytest.mark.parametrize("concept", ["zuzu", "harlequin"])
def test_intake_uses_all_five_pictures(concept: str) -> None:
    """None of the pictures is left out as broken, too small or a near-duplicate."""
    photos = pytest.importorskip("prism_cli.services.photos", exc_type=ModuleNotFoundError)

    intake = photos.take_in(EXAMPLES / concept, size=512)

    assert [photo.path.name for photo in intake.photos] == [f"{n:02}.png" for n in range(1, 6)]
