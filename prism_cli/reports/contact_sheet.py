"""Several pictures on one, so that a person can choose among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GAP, _CAPTION, _LINE, _INSET, _INK, _PAPER = 8, 22, 17, 2, (40, 40, 40), (255, 255, 255)


def as_tile(picture: Image.Image, tile: int = 256) -> Image.Image:
    """`picture` as it stands on a sheet: RGB, `tile` px wide, small ones enlarged smoothly."""
    size = (tile, max(1, round(picture.height * tile / picture.width)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def contact_sheet(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] = (),
    *,
    columns: int = 4,
    tile: int = 256,
) -> Image.Image:
    """Lay out `pictures` in rows of at most `columns`, each `tile` px wide, its caption below.

    captions: none, or one for each. It has the width up to the next in its row that is not "", and
    as many lines as it then takes. Raises ValueError when there are no pictures, or not as many.
    """
    if not pictures:
        raise ValueError("a contact sheet needs a picture")
    if captions and len(captions) != len(pictures):
        raise ValueError(f"{len(captions)} captions for {len(pictures)} pictures")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = max(round(p.height * tile / p.width) for p in pictures)
    font = ImageFont.load_default(size=14)
    texts = [
        _broken(caption, font, _room(captions, k, columns) * (tile + _GAP) - _GAP - _INSET)
        for k, caption in enumerate(captions)
    ]
    below = _CAPTION + _LINE * max(text.count("\n") for text in texts) if texts else 0
    sheet = Image.new(
        "RGB",
        (columns * (tile + _GAP) + _GAP, rows * (height + below + _GAP) + _GAP),
        _PAPER,
    )
    pen = ImageDraw.Draw(sheet)
    for k, picture in enumerate(pictures):
        x = _GAP + k % columns * (tile + _GAP)
        y = _GAP + k // columns * (height + below + _GAP)
        sheet.paste(as_tile(picture, tile), (x, y))
        if texts:
            pen.text((x + _INSET, y + height + 3), texts[k], fill=_INK, font=font, spacing=3)
    return sheet


def _room(captions: Sequence[str], k: int, columns: int) -> int:
    """How many tiles wide caption k may be: up to the next in its row."""
    room = columns - k % columns
    after = captions[k + 1 : k + room]
    return 1 + next((n for n, caption in enumerate(after) if caption), room - 1)


def _broken(text: str, font: _Font, width: int) -> str:
    """`text` in lines of at most `width` px, at spaces where there are any."""
    lines = [""]
    for letter in text:
        lines[-1] += letter
        if font.getlength(lines[-1].rstrip()) > width:
            whole, space, rest = lines[-1].rpartition(" ")
            lines[-1:] = [whole, rest] if space else [lines[-1][:-1], letter]
    return "\n".join(lines)


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
        pen.text((x + _INSET, 4), name, fill=_INK, font=font)
        for one in each:
            sheet.paste(one, (x, y))
            y += one.height + _GAP
    return sheet
