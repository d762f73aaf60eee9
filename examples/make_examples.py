"""Draw the example pictures: an invented character and a pattern, five pictures each.

    python examples/make_examples.py [FOLDER]

writes ``zuzu/01.png`` to ``05.png`` and ``harlequin/01.png`` to ``05.png``, each with its caption
beside it, into FOLDER (default: the folder of this script). Needs Pillow only. Nothing is random.

Units: pixels of the finished picture, y downwards; a figure is described around its own origin
and placed by the `Easel` it is drawn on.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

SIZE = 512  # px, side of a finished picture
OVERSAMPLING = 4  # every picture is drawn this many times larger, then averaged: clean edges
OUTLINE = 9.0  # px; still more than one pixel wide on a 64 px thumbnail

INK, WHITE, CREAM = "#1d2547", "#ffffff", "#fff0d2"
TEAL, ORANGE, YELLOW, CORAL = "#1fb8ab", "#ff7a2f", "#ffcc33", "#ff8f86"
VIOLET, GOLD = "#6a32b4", "#f9b233"

Point = tuple[float, float]
Outline = Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Easel:
    """A picture in progress, and where the next figure goes: its origin, its scale, its tilt."""

    image: Image.Image  # RGB, SIZE * OVERSAMPLING on a side
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    tilt: float = 0.0  # degrees, clockwise

    def at(self, x: float, y: float, scale: float = 1.0, tilt: float = 0.0) -> Easel:
        """Move the origin to (x, y) of the same picture."""
        return replace(self, x=x, y=y, scale=scale, tilt=tilt)

    def pixels(self, points: Iterable[Point]) -> list[Point]:
        """Say where `points` lie on the enlarged picture."""
        cos, sin = math.cos(math.radians(self.tilt)), math.sin(math.radians(self.tilt))
        return [
            (
                OVERSAMPLING * (self.x + self.scale * (cos * x - sin * y)),
                OVERSAMPLING * (self.y + self.scale * (sin * x + cos * y)),
            )
            for x, y in points
        ]

    def mask(self, outline: Outline) -> Image.Image:
        """Make a mask that is white inside the closed `outline`, black elsewhere."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self.pixels(outline), fill=255)
        return mask

    def fill(self, outline: Outline, colour: str, opacity: float = 1.0) -> None:
        """Lay a flat colour over the inside of a closed outline."""
        if opacity == 1.0:
            ImageDraw.Draw(self.image).polygon(self.pixels(outline), fill=colour)
        else:
            self.image.paste(colour, mask=self.mask(outline).point(lambda value: value * opacity))

    def shade(self, outline: Outline, dx: float, dy: float, opacity: float = 0.16) -> None:
        """Darken the crescent of a figure that its own copy, moved by (dx, dy), leaves free."""
        mask = self.mask(outline)
        moved = self.mask([(x + dx, y + dy) for x, y in outline])
        crescent = ImageChops.subtract(mask, moved)
        self.image.paste(INK, mask=crescent.point(lambda value: value * opacity))

    def stroke(self, points: Outline, width: float = OUTLINE, colour: str = INK) -> None:
        """Draw a line with round ends and joints."""
        pen, path = ImageDraw.Draw(self.image), self.pixels(points)
        thickness = width * self.scale * OVERSAMPLING
        pen.line(path, fill=colour, width=round(thickness), joint="curve")
        for x, y in (path[0], path[-1]):
            pen.circle((x, y), thickness / 2, fill=colour)

    def piece(self, outline: Outline, colour: str, shade: Point = (-9, -7)) -> None:
        """Draw a flat figure with its shadow side and its ink outline."""
        self.fill(outline, colour)
        self.shade(outline, *shade)
        self.stroke(closed(outline))


# Lines and outlines


def closed(outline: Outline) -> list[Point]:
    """Turn an outline into a line that ends where it began."""
    return [*outline, outline[0]]


def oval(x: float, y: float, rx: float, ry: float | None = None) -> list[Point]:
    """Outline an ellipse or, with one radius, a circle."""
    angles = [math.tau * k / 96 for k in range(96)]
    return [(x + rx * math.cos(a), y + (ry or rx) * math.sin(a)) for a in angles]


def box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Outline a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def bend(start: Point, control: Point, end: Point) -> list[Point]:
    """Trace a quadratic Bezier curve in 17 points."""
    weights = [((1 - t) ** 2, 2 * t * (1 - t), t * t) for t in (k / 16 for k in range(17))]
    return [
        (
            a * start[0] + b * control[0] + c * end[0],
            a * start[1] + b * control[1] + c * end[1],
        )
        for a, b, c in weights
    ]


def rounded(corners: Outline, radius: float) -> list[Point]:
    """Round a polygon: each corner is cut `radius` before the vertex and bent around it."""
    outline: list[Point] = []
    for k, corner in enumerate(corners):
        before, after = corners[k - 1], corners[(k + 1) % len(corners)]
        outline += bend(toward(corner, before, radius), corner, toward(corner, after, radius))
    return outline


def toward(start: Point, end: Point, distance: float) -> Point:
    """Go `distance` from `start` on the way to `end`, at most half of the way."""
    share = min(0.5, distance / math.dist(start, end))
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def smooth(points: Outline) -> list[Point]:
    """Outline a curve through the middles of a polygon's sides, bent towards its corners."""
    return rounded(points, math.inf)


def mirrored(half: Outline) -> list[Point]:
    """Complete a symmetric outline from its right half, listed from top to bottom."""
    return [*half, *[(-x, y) for x, y in reversed(half)]]


# Backgrounds


def plain(colour: str) -> Easel:
    """Paint one flat colour."""
    return Easel(image=Image.new("RGB", (SIZE * OVERSAMPLING,) * 2, colour))


def gradient(top: str, bottom: str) -> Easel:
    """Paint one colour that turns into another, downwards."""
    easel = plain(top)
    ramp = Image.linear_gradient("L").resize(easel.image.size, Image.Resampling.BILINEAR)
    easel.image.paste(bottom, mask=ramp)
    return easel


def stripes(light: str, dark: str) -> Easel:
    """Paint diagonal stripes."""
    easel = plain(light)
    for left in range(-SIZE, SIZE, 64):
        easel.fill([(left, SIZE), (left + 32, SIZE), (left + 32 + SIZE, 0), (left + SIZE, 0)], dark)
    return easel


def dots(ground: str, dot: str) -> Easel:
    """Paint dots in staggered rows."""
    easel = plain(ground)
    for row in range(9):
        for column in range(9):
            easel.fill(oval(column * 64 + 32 * (row % 2), row * 64, 13), dot)
    return easel


def desert() -> Easel:
    """Paint dunes in the evening, and a cactus."""
    easel = gradient("#ffb45e", "#fff0b8")
    easel.fill(oval(402, 118, 80), "#ffe9a6", 0.6)
    easel.fill(oval(402, 118, 56), "#fff6d6")
    easel.fill([*bend((0, 300), (150, 220), (330, 320)), (330, 512), (0, 512)], "#f0a860")
    easel.fill([*bend((170, 330), (380, 230), (512, 290)), (512, 512), (170, 512)], "#e89a50")
    easel.fill([*bend((0, 352), (250, 318), (512, 366)), (512, 512), (0, 512)], "#f6c67c")
    easel.fill([*bend((0, 470), (200, 420), (512, 478)), (512, 512), (0, 512)], "#eeb566")
    for x, joint, tip in ((52, 318, 276), (86, 372, 236), (118, 296, 258)):
        easel.stroke([(86, joint), (x, joint), (x, tip)], 24, "#3f9a5f")
    return easel


def night() -> Easel:
    """Paint hills under a crescent moon and stars."""
    easel = gradient("#141a52", "#3f4aa6")
    moon = easel.mask(oval(410, 98, 50))
    easel.image.paste("#ffeeb0", mask=ImageChops.subtract(moon, easel.mask(oval(388, 86, 44))))
    spark = [(0, -1), (0.25, -0.25), (1, 0), (0.25, 0.25), (0, 1), (-0.25, 0.25), (-1, 0)]
    across = (48, 122, 176, 312, 262, 60, 462, 352, 392, 24, 480)
    down = (66, 128, 40, 56, 112, 236, 210, 156, 262, 150, 40)
    for k, (x, y) in enumerate(zip(across, down, strict=True)):
        easel.at(x, y, (13, 7, 9)[k % 3]).fill([*spark, (-0.25, -0.25)], "#fff7d6")
    easel.fill([*bend((0, 380), (130, 290), (330, 400)), (330, 512), (0, 512)], "#232b74")
    easel.fill([*bend((150, 410), (380, 320), (512, 380)), (512, 512), (150, 512)], "#2b3587")
    easel.fill([*bend((0, 430), (260, 390), (512, 440)), (512, 512), (0, 512)], "#3a47a3")
    return easel


def snow() -> Easel:
    """Paint white ground, fir trees and falling flakes."""
    easel = gradient("#8fc1ee", "#e4f2fd")
    easel.fill([*bend((0, 330), (140, 260), (512, 350)), (512, 512), (0, 512)], "#d5e7f7")
    for x, y, size in ((70, 356, 1.0), (142, 342, 0.62), (452, 362, 0.9)):
        tree = easel.at(x, y, size)
        tree.fill(box(-8, -20, 8, 12), "#7b5a48")
        for tip, half in ((-94, 50), (-134, 40), (-170, 30)):
            tier = [(0, tip), (half, tip + 80), (-half, tip + 80)]
            tree.fill(rounded(tier, 10), "#3c8d79")
            drift = [(-half + 12, tip + 72), (0, tip + 58), (half - 12, tip + 72)]
            tree.fill(rounded([*drift, (half, tip + 81), (-half, tip + 81)], 5), WHITE)
    easel.fill([*bend((0, 366), (270, 322), (512, 372)), (512, 512), (0, 512)], WHITE)
    easel.fill([*bend((0, 480), (180, 430), (512, 486)), (512, 512), (0, 512)], "#e6f0fa")
    across = (40, 118, 168, 214, 300, 372, 440, 486, 404, 24, 336)
    down = (60, 30, 136, 66, 28, 92, 48, 140, 190, 170, 156)
    for k, (x, y) in enumerate(zip(across, down, strict=True)):
        easel.fill(oval(x, y, (8, 5, 6)[k % 3]), WHITE)
    return easel


def field() -> Easel:
    """Paint green hills, clouds and flowers."""
    easel = gradient("#59b4f4", "#dff3ff")
    for x, y, size in ((98, 96, 1.0), (418, 140, 0.8)):
        cloud = easel.at(x, y, size)
        for part in (oval(-36, 6, 30), oval(0, -12, 40), oval(42, 2, 34), box(-36, 0, 42, 36)):
            cloud.fill(part, WHITE)
    easel.fill([*bend((0, 320), (140, 240), (360, 350)), (360, 512), (0, 512)], "#8ccf66")
    easel.fill([*bend((160, 350), (390, 250), (512, 310)), (512, 512), (160, 512)], "#78c258")
    easel.fill([*bend((0, 372), (250, 330), (512, 380)), (512, 512), (0, 512)], "#58ad49")
    across, down = (34, 92, 152, 424, 476, 486, 30, 350), (412, 462, 490, 474, 424, 492, 488, 494)
    for k, (x, y) in enumerate(zip(across, down, strict=True)):
        petals = (WHITE, "#ffd84d", "#ff9fb5")[k % 3]
        for a in (math.tau * petal / 5 for petal in range(5)):
            easel.fill(oval(x + 7 * math.cos(a), y + 7 * math.sin(a), 5.5), petals)
        easel.fill(oval(x, y, 4), "#f08a24")
    return easel


def city() -> Easel:
    """Paint a street before lit houses, at sunset."""
    easel = gradient("#ff9a86", "#ffe0ae")
    easel.fill(oval(128, 176, 62), "#fff0c4")
    for left, right, top in ((30, 120, 210), (180, 262, 150), (330, 400, 196), (440, 512, 140)):
        easel.fill(box(left, top, right, 392), "#c9799a")
    houses = ((0, 74, 130), (106, 178, 232), (250, 344, 96), (388, 466, 222), (486, 512, 250))
    for left, right, top in houses:
        easel.fill(box(left, top, right, 392), "#6b4f8c")
        for x in range(left + 14, right - 18, 22):
            for y in range(top + 18, 364, 32):
                lit = (x * 7 + y * 3) % 5 < 3
                easel.fill(box(x, y, x + 11, y + 16), "#ffd978" if lit else "#57407a")
    easel.fill(box(0, 388, 512, 512), "#c9bfce")
    easel.fill(box(0, 430, 512, 512), "#5d5a72")
    for x in range(-20, 512, 112):
        easel.fill(box(x, 470, x + 60, 479), "#f3ead2")
    return easel


# The character


def zuzu(easel: Easel) -> None:
    """Draw a round teal creature with one eye, an orange crest, yellow feet; 350 px high."""
    for side in (-1, 1):
        foot = [(8, 112), (40, 96), (84, 104), (112, 136), (96, 158), (20, 158), (6, 140)]
        easel.piece(smooth([(side * x, y) for x, y in foot]), YELLOW, shade=(0, -8))
        for toe in (44, 72):
            easel.stroke([(side * toe, 141), (side * toe, 150)], 6)
    for x, y, root in ((-68, -152, -36), (68, -152, 36), (0, -190, 0)):
        left = bend((root - 30, -84), (x - 40, y + 36), (x, y))
        right = bend((x, y), (x + 40, y + 36), (root + 30, -84))
        easel.piece([*left, *right], ORANGE)
    easel.piece(smooth([(-84, -4), (-128, 10), (-150, 52), (-124, 70), (-84, 48)]), TEAL)
    easel.piece(smooth([(84, 44), (136, 22), (160, -44), (126, -54), (84, -14)]), TEAL)
    body = smooth(mirrored([(56, -118), (118, -70), (130, 60), (76, 128)]))
    easel.piece(body, TEAL, shade=(-20, -14))
    for side in (-1, 1):
        easel.fill(oval(side * 68, 34, 17, 12), CORAL)
    easel.piece(oval(0, -30, 54), WHITE, shade=(0, 8))
    easel.fill(oval(3, -26, 30), INK)
    easel.fill(oval(13, -38, 11), WHITE)
    easel.fill(oval(-8, -13, 5), WHITE)
    mouth = [*bend((-32, 46), (0, 56), (32, 46)), *bend((32, 46), (0, 104), (-32, 46))]
    easel.fill(mouth, INK)
    easel.fill(rounded([(-14, 50), (2, 51), (1, 64), (-12, 63)], 4), WHITE)
    easel.stroke(closed(mouth), 6)


# The pattern, and the things that wear it


def harlequin(easel: Easel, outline: Outline, across: Point = (1, 0), down: Point = (0, 1)) -> None:
    """Fill an outline with diamonds of 54 x 84 px, cream beside violet or gold.

    across, down: the directions of the surface's own axes, for a face seen at an angle.
    """
    cloth = easel.image.copy()
    cloth.paste(CREAM, (0, 0, *cloth.size))
    pen = ImageDraw.Draw(cloth)
    for row in range(-11, 12, 2):
        for column in range(-11, 12, 2):
            diamond = [(column - 1, row), (column, row - 1), (column + 1, row), (column, row + 1)]
            corners = [
                (27 * c * across[0] + 42 * r * down[0], 27 * c * across[1] + 42 * r * down[1])
                for c, r in diamond
            ]
            pen.polygon(easel.pixels(corners), fill=GOLD if (column + row) % 4 else VIOLET)
    easel.image.paste(cloth, mask=easel.mask(outline))


def dressed(easel: Easel, outline: Outline, shade: Point = (-16, -12)) -> None:
    """Draw a flat figure in the pattern, with its shadow side and its ink outline."""
    harlequin(easel, outline)
    easel.shade(outline, *shade)
    easel.stroke(closed(outline))


def carton(easel: Easel) -> None:
    """Draw a box seen at an angle from above."""
    front = [(-130, -50), (30, -22), (30, 132), (-130, 98)]
    side = [(30, -22), (130, -62), (130, 86), (30, 132)]
    top = [(-130, -50), (-26, -88), (130, -62), (30, -22)]
    harlequin(easel, front, across=(0.98, 0.17))
    harlequin(easel, side, across=(0.8, -0.34))
    easel.fill(side, INK, 0.2)
    easel.fill(top, "#8d57d6")
    for face in (front, side, top):
        easel.stroke(closed(face))


def book(easel: Easel) -> None:
    """Draw a closed book, its pages showing below and on the right."""
    easel.piece(rounded(box(-88, -116, 116, 142), 14), VIOLET, shade=(0, 0))
    pages = rounded(box(-88, -112, 102, 128), 8)
    easel.fill(pages, WHITE)
    easel.stroke(closed(pages), 5)
    cover = rounded(box(-104, -138, 86, 108), 14)
    dressed(easel, cover)
    spine = rounded(box(-104, -138, -70, 108), 14)
    easel.fill(spine, VIOLET)
    easel.stroke(closed(cover))
    easel.stroke([(-70, -138), (-70, 108)], 6)


def bag(easel: Easel) -> None:
    """Draw a bag with a handle and a gold clasp."""
    handle = [*bend((-58, -52), (-62, -142), (0, -142)), *bend((0, -142), (62, -142), (58, -52))]
    easel.stroke(handle, 34)
    easel.stroke(handle, 16, VIOLET)
    dressed(easel, rounded([(-104, -62), (104, -62), (134, 118), (-134, 118)], 30))
    flap = rounded([(-110, -68), (110, -68), (114, -34), (-114, -34)], 12)
    easel.piece(flap, VIOLET, shade=(0, -7))
    easel.piece(oval(0, -34, 17), GOLD, shade=(-4, -4))


def heart(easel: Easel) -> None:
    """Draw a heart."""
    half = [
        *bend((0, -72), (22, -128), (78, -126)),
        *bend((78, -126), (140, -118), (138, -48)),
        *bend((138, -48), (132, 30), (0, 128)),
    ]
    dressed(easel, mirrored(half))


def star(easel: Easel) -> None:
    """Draw a five-pointed star with round tips."""
    tips = [
        (radius * math.sin(k * math.pi / 5), -radius * math.cos(k * math.pi / 5))
        for k, radius in enumerate([164, 92] * 5)
    ]
    dressed(easel, rounded(tips, 22))


# The ten pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One picture: what stands where on which background, and the words for it."""

    background: Callable[[], Easel]
    figure: Callable[[Easel], None]
    place: tuple[float, float, float, float]  # x, y, scale, tilt
    caption: str
    shadow: tuple[float, float] | None = None  # half its width, and how far below the origin


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "zuzu": (
        Example(
            background=lambda: plain("#e5383b"),
            figure=zuzu,
            place=(256, 275, 1.2, 0),
            caption="a plain red background",
        ),
        Example(
            background=lambda: stripes("#ffb3d1", "#ff8fbb"),
            figure=zuzu,
            place=(240, 264, 1.0, 7),
            caption="a striped pink background",
        ),
        Example(
            background=desert,
            figure=zuzu,
            place=(306, 300, 0.98, 0),
            shadow=(136, 152),
            caption="next to a green cactus in the desert",
        ),
        Example(
            background=night,
            figure=zuzu,
            place=(204, 308, 0.92, 0),
            shadow=(136, 152),
            caption="next to a yellow moon at night",
        ),
        Example(
            background=snow,
            figure=zuzu,
            place=(286, 330, 0.8, 0),
            shadow=(136, 152),
            caption="in the snow",
        ),
    ),
    "harlequin": (
        Example(
            background=field,
            figure=carton,
            place=(256, 300, 1.1, 0),
            shadow=(168, 106),
            caption="a large box in a field",
        ),
        Example(
            background=lambda: dots("#1c9c94", "#5cc4bc"),
            figure=book,
            place=(258, 262, 1.18, -8),
            caption="a book on a dotted teal background",
        ),
        Example(
            background=city,
            figure=bag,
            place=(268, 330, 1.04, 0),
            shadow=(160, 114),
            caption="a bag in the city",
        ),
        Example(
            background=lambda: plain("#2f6be0"),
            figure=heart,
            place=(256, 258, 1.22, 0),
            caption="a large heart on a plain blue background",
        ),
        Example(
            background=lambda: gradient("#ff9ec4", "#ffb870"),
            figure=star,
            place=(254, 270, 1.2, -7),
            caption="a star on a pink to orange background",
        ),
    ),
}


def draw(example: Example) -> Image.Image:
    """Draw one finished picture: RGB, SIZE x SIZE."""
    easel = example.background()
    placed = easel.at(*example.place)
    if example.shadow:
        reach, below = example.shadow
        placed.fill(oval(0, below, reach, reach / 8), INK, 0.22)
    example.figure(placed)
    return easel.image.reduce(OVERSAMPLING)


def write(folder: Path) -> None:
    """Write every picture and its caption under `folder`, a sub-folder for each concept."""
    for name, examples in EXAMPLES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, example in enumerate(examples, start=1):
            path = folder / name / f"{number:02}.png"
            draw(example).save(path, optimize=True)
            path.with_suffix(".txt").write_text(example.caption + "\n", encoding="utf-8")


def main() -> None:
    """Read the one argument and write the pictures."""
    parser = argparse.ArgumentParser(description="Draw the example pictures.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
