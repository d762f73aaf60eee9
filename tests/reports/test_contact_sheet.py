"""Captions below the pictures of a sheet: whole, and each its own picture's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from prism_cli.reports.contact_sheet import as_tile, contact_sheet

TILE, GAP = 160, 8
LONG = "a [mydog] with a tree and autumn leaves in the background"
WIDE = "[" + "w" * 60 + "]"


def sheet(*captions: str) -> np.ndarray:
    """Of teal pictures with these captions, four in a row: (height, width), True where ink is."""
    pictures = [Image.new("RGB", (64, 64), (0, 128, 128))] * len(captions)
    pixels = np.asarray(contact_sheet(pictures, captions, columns=4, tile=TILE))
    return np.all(pixels < 110, axis=-1)


def test_a_long_caption_keeps_to_its_picture() -> None:
    """In as many lines as it takes, also at the edge of the sheet."""
    written = sheet(LONG, "b", "c", LONG)
    short = sheet("a", "b", "c", "d")

    assert written.shape[0] > short.shape[0] and written.shape[1] == short.shape[1]
    columns = np.split(written[GAP + TILE :], [GAP + k * (TILE + GAP) for k in (1, 2, 3)], 1)
    assert columns[0][:, -GAP:].sum() == columns[3][:, -GAP:].sum() == 0
    assert columns[0].sum() == columns[3].sum() > 20 * columns[1].sum() > 0


@pytest.mark.parametrize(
    ("captions", "lines"),
    [
        ((LONG, "", "", ""), 1),
        ((LONG, "", "b", ""), 2),
        ((LONG, "b"), 3),
        (("a", "", "", LONG, "", "", "", ""), 3),  # at the end of its row
        (("a", "b", "c", "d", LONG), 1),  # as no picture is beside it
        (("", "", "", ""), 1),
    ],
)
def test_a_caption_has_the_room_up_to_the_next(captions: tuple[str, ...], lines: int) -> None:
    rows = -(-len(captions) // 4)
    more = sheet(*captions).shape[0] - sheet(*"a" * len(captions)).shape[0]
    assert more == rows * 17 * (lines - 1)


def test_a_word_that_is_too_wide_is_broken() -> None:
    written = sheet(WIDE, "b")
    assert written[:, GAP + TILE : GAP + TILE + GAP].sum() == 0
    assert written[GAP + TILE :, : GAP + TILE].any(axis=1).sum() > 3 * 8


def test_a_caption_for_each_picture() -> None:
    with pytest.raises(ValueError, match="1 captions for 2 pictures"):
        contact_sheet([Image.new("RGB", (8, 8))] * 2, ["a"])


def test_a_line_of_pixels_is_a_picture() -> None:
    """A preview may be as wide as an archive allows, and a pixel high."""
    assert as_tile(Image.new("RGB", (8192, 1)), 256).size == (256, 1)


def test_without_a_picture_there_is_no_sheet() -> None:
    with pytest.raises(ValueError, match="needs a picture"):
        contact_sheet([])
