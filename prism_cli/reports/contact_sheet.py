"""Several pictures on one, so that a person can choose among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

_GAP, _CAPTION, _INK, _PAPER = 8, 22, (40, 40, 40), (255, 255, 255)


def as_tile(picture: Image.Image, tile: int = 256) -> Image.Image:
    """`picture` as it stands on a sheet: RGB, `tile` px wide, small ones enlarged smoothly."""
    size = (tile, round(picture.height * tile / picture.width))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def contact_sheet(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] = (),
    *,
    columns: int = 4,
    tile: int = 256,
) -> Image.Image:
    """Lay out `pictures` in rows of at most `columns`, each `tile` px wide, its caption below.

    Raises ValueError when there are none.
    """
    if not pictures:
        raise ValueError("a contact sheet needs a picture")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = max(round(p.height * tile / p.width) for p in pictures)
    below = _CAPTION if captions else 0
    sheet = Image.new(
        "RGB",
        (columns * (tile + _GAP) + _GAP, rows * (height + below + _GAP) + _GAP),
        _PAPER,
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for k, picture in enumerate(pictures):
        x = _GAP + k % columns * (tile + _GAP)
        y = _GAP + k // columns * (height + below + _GAP)
        sheet.paste(as_tile(picture, tile), (x, y))
        if captions:
            pen.text((x + 2, y + height + 3), captions[k], fill=_INK, font=font)
    return sheet


def grid(columns: Mapping[str, Sequence[Image.Image]], tile: int = 192) -> Image.Image:
    """Columns of pictures from the top, each under its name; a short one ends early.

    Raises ValueError when there is no picture.
    """
    if not any(columns.values()):
        raise ValueError("a grid needs a picture")
    tiles = {name: [as_tile(p, tile) for p in each] for name, each in columns.items()}
    height = max(sum(t.height + _GAP for t in each) for each in tiles.values())
    sheet = Image.new("RGB", (len(tiles) * (tile + _GAP) + _GAP, _CAPTION + height + _GAP), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for k, (name, each) in enumerate(tiles.items()):
        x, y = _GAP + k * (tile + _GAP), _CAPTION + _GAP
        pen.text((x + 2, 4), name, fill=_INK, font=font)
        for one in each:
            sheet.paste(one, (x, y))
            y += one.height + _GAP
    return sheet
