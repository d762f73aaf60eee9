"""A matrix as a picture: white is nothing, dark is the most."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_CELL, _MARGIN, _HEAD = 56, 96, 64  # px
_INK, _PAPER, _MOST = (40, 40, 40), (255, 255, 255), (150, 20, 60)


def heat_map(
    matrix: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], title: str
) -> Image.Image:
    """Draw a matrix with its numbers; its diagonal is framed.

    Raises ValueError when it is empty or its names are not as many as its rows and columns.
    """
    if not matrix or len(rows) != len(matrix) or any(len(r) != len(columns) for r in matrix):
        raise ValueError("a heat map needs a name for each row and column")
    most = max(max(map(abs, row)) for row in matrix) or 1.0
    pen_size = (_MARGIN + _CELL * len(columns) + 8, _HEAD + _CELL * len(rows) + 8)
    font = ImageFont.load_default(size=13)
    width = max(pen_size[0], round(font.getlength(title)) + 16)
    picture = Image.new("RGB", (width, pen_size[1]), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((8, 6), title, fill=_INK, font=font)
    for j, name in enumerate(columns):
        x = _MARGIN + j * _CELL + _CELL // 2
        pen.text((x, _HEAD - 8), name, fill=_INK, font=font, anchor="mb")
    for i, (name, row) in enumerate(zip(rows, matrix, strict=True)):
        y = _HEAD + i * _CELL
        pen.text((_MARGIN - 8, y + _CELL // 2), name, fill=_INK, font=font, anchor="rm")
        for j, value in enumerate(row):
            x = _MARGIN + j * _CELL
            share = abs(value) / most
            box = (x, y, x + _CELL - 2, y + _CELL - 2)
            pen.rectangle(box, fill=_shade(share), outline=_INK if i == j else None, width=2)
            ink = _PAPER if share > 0.55 else _INK
            middle = (x + _CELL // 2 - 1, y + _CELL // 2 - 1)
            pen.text(middle, f"{value:.3f}", fill=ink, font=font, anchor="mm")
    return picture


def _shade(share: float) -> tuple[int, int, int]:
    red, green, blue = (
        round(low + share * (high - low)) for low, high in zip(_PAPER, _MOST, strict=True)
    )
    return red, green, blue
