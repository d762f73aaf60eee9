"""The drawings the world is made of: icon packages, their licences, and how they are rendered.

    npm install --ignore-scripts --prefix artwork $(python -m mini.artwork --packages)
    python -m mini.artwork artwork

writes `artwork/icons.npz`: one array of RGBA drawings for each set, and the nouns that it has.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from mini.vocabulary import NOUNS

CANVAS = 128  # px a drawing is kept at; rendered twice as large, as thin edges break at 64
HANDS = 4  # sets that must have a noun: fewer are no choice of style
CODE_POINTS = "unicode-emoji-json@0.9.0"  # names to code points: the 3D set is filed by these


@dataclass(frozen=True, slots=True)
class IconSet:
    """One drawn alphabet. use: what it may be shown to."""

    name: str
    package: str
    use: Literal["training", "held out"]
    authors: str
    licence: str


_ICONIFY = "@iconify-json"
# What is held out is seen by no training: neither the base's, the scorer's nor the autoencoder's.
SETS = (
    IconSet("noto", f"{_ICONIFY}/noto@1.2.9", "training", "Google", "Apache-2.0"),
    IconSet("flat", f"{_ICONIFY}/fluent-emoji-flat@1.2.6", "training", "Microsoft", "MIT"),
    IconSet("glossy", "@lobehub/fluent-emoji-3d@1.1.0", "training", "Microsoft", "MIT"),
    IconSet("twemoji", f"{_ICONIFY}/twemoji@1.2.5", "training", "Twitter and others", "CC BY 4.0"),
    IconSet("noto-v1", f"{_ICONIFY}/noto-v1@1.2.5", "training", "Google", "Apache-2.0"),
    IconSet(
        "emojione", f"{_ICONIFY}/emojione@1.2.3", "training", "EmojiOne, emojitwo", "CC BY 4.0"
    ),
    IconSet("fxemoji", f"{_ICONIFY}/fxemoji@1.2.2", "training", "Mozilla", "Apache-2.0"),
    IconSet("openmoji", f"{_ICONIFY}/openmoji@1.2.29", "held out", "OpenMoji", "CC BY-SA 4.0"),
    IconSet("emojione-v1", f"{_ICONIFY}/emojione-v1@1.2.3", "held out", "EmojiOne", "CC BY-SA 4.0"),
    IconSet(
        "streamline", f"{_ICONIFY}/streamline-emojis@1.2.4", "held out", "Streamline", "CC BY 4.0"
    ),
)  # fmt: skip
HELD_OUT = tuple(each.name for each in SETS if each.use == "held out")
FXEMOJI = {  # names of its own; the rest are the others' without hyphens
    "wolf": "wolfface", "fox": "foxsmiling", "panda": "pandaface", "rabbit-face": "bunny",
    "tiger-face": "tiger", "pig-face": "pig", "evergreen-tree": "evergreen",
    "eggplant": "aubergine", "hot-pepper": "chilipepper", "pizza": "sliceofpizza",
    "wrapped-gift": "present", "purse": "pinkwallet", "backpack": "schoolsatchel",
    "running-shoe": "mensshoe", "mobile-phone": "cellphone", "snowman": "snowmanwithoutsnow",
    "house": "housebuilding", "castle": "europeancastle", "gem-stone": "gem",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Photograph:
    """A free photograph in `usr/share/backgrounds` of `PHOTOGRAPH_PACKAGE` (Debian)."""

    file: str
    author: str
    licence: str


PHOTOGRAPH_PACKAGE = "lomiri-wallpapers-16.04=20.04.0-2"
PHOTOGRAPH_FOLDER = "debian/usr/share/backgrounds"  # under the artwork
PHOTOGRAPHS = (
    Photograph("aitzgorri_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC BY 4.0"),
    Photograph("friends_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC BY 4.0"),
    Photograph("life_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC BY 4.0"),
    Photograph("picosdeeuropa_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC BY 4.0"),
    Photograph("sunset_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC BY 4.0"),
    Photograph("Picture_0B_by_freespace.jpg", 'Trevor "Freespace"', "CC BY 4.0"),
    Photograph("Picture_1A_by_freespace.jpg", 'Trevor "Freespace"', "CC BY 4.0"),
    Photograph("seeding_by_Clements_Engelhardt.jpg", "Clemens Engelhardt", "CC0 1.0"),
    Photograph("umang_by_Abhishek_Mudgal.jpg", "Abhishek Mudgal", "CC BY 4.0"),
    Photograph("Wine_by_Jakkub_Mede.jpg", "Jakub Mede", "CC BY 4.0"),
)


def folder_of(package: str, root: Path) -> Path:
    """Where npm puts `name@version` under `root`."""
    return root / "node_modules" / package.rpartition("@")[0]


def trimmed(drawing: Image.Image) -> Image.Image:
    """The drawing, cut to what is opaque and centred on a square canvas with a margin of 2 %."""
    box = drawing.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox()
    if box is None:
        raise ValueError("the drawing is empty")
    cut = drawing.crop(box)
    scale = 0.96 * CANVAS / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    canvas = Image.new("RGBA", (CANVAS, CANVAS))
    # Premultiplied while it shrinks: colours under transparent pixels must not bleed in.
    small = cut.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    canvas.paste(small, ((CANVAS - size[0]) // 2, (CANVAS - size[1]) // 2))
    return canvas


class VectorSet:
    """The icons of an `@iconify-json` package, rendered by resvg."""

    def __init__(self, folder: Path) -> None:
        self._set = json.loads((folder / "icons.json").read_text())

    def render(self, icon: str) -> Image.Image | None:
        """The icon at twice the canvas, or None where the set has no such icon."""
        import resvg_py

        icons, aliases = self._set["icons"], self._set.get("aliases", {})
        bare = FXEMOJI.get(icon, icon.replace("-", ""))
        names = (icon, aliases.get(icon, {}).get("parent"), bare)
        name = next((name for name in names if name in icons), None)
        if name is None:
            return None
        entry = icons[name]
        width = entry.get("width", self._set.get("width", 16))
        height = entry.get("height", self._set.get("height", 16))
        left, top = entry.get("left", 0), entry.get("top", 0)
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{entry["body"]}</svg>'
        )
        rendered = resvg_py.svg_to_bytes(svg_string=svg, width=2 * CANVAS, height=2 * CANVAS)
        return Image.open(io.BytesIO(bytes(rendered))).convert("RGBA")


class RasterSet:
    """The pictures of a package that files them by code point."""

    def __init__(self, folder: Path, code_points: Path) -> None:
        table = json.loads((code_points / "data-by-emoji.json").read_text())
        self._files = {
            re.sub(r"[_&-]+", "-", entry["slug"]): "-".join(f"{ord(char):x}" for char in emoji)
            for emoji, entry in table.items()
        }
        self._folder = folder / "assets"

    def render(self, icon: str) -> Image.Image | None:
        """The picture, or None where the set has no such icon."""
        code = self._files.get(icon, "")
        for name in (code, code.replace("-fe0f", ""), f"{code}-fe0f"):
            if name and (path := self._folder / f"{name}.webp").is_file():
                return Image.open(path).convert("RGBA")
        return None


def render_all(root: Path) -> dict[str, np.ndarray]:
    """For each set, `<set>` (n, CANVAS, CANVAS, 4) uint8 and `<set>:words` (n,).

    Raises ValueError when fewer than `HANDS` sets of the training have a noun.
    """
    arrays: dict[str, np.ndarray] = {}
    hands: Counter[str] = Counter()
    for each in SETS:
        folder = folder_of(each.package, root)
        source = (
            RasterSet(folder, folder_of(CODE_POINTS, root))
            if (folder / "assets").is_dir()
            else VectorSet(folder)
        )
        found = {noun.word: source.render(noun.icon) for noun in NOUNS}
        drawn = {word: np.asarray(trimmed(image)) for word, image in found.items() if image}
        arrays[each.name] = np.stack(list(drawn.values()))
        arrays[f"{each.name}:words"] = np.array(list(drawn))
        if each.use == "training":
            hands.update(drawn.keys())  # a mapping would be added up
    if rare := [noun.word for noun in NOUNS if hands[noun.word] < HANDS]:
        raise ValueError(f"fewer than {HANDS} sets have a drawing of {', '.join(rare)}")
    return arrays


def packages() -> list[str]:
    """What npm has to install."""
    return [*(each.package for each in SETS), CODE_POINTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where npm installed the packages")
    parser.add_argument("--packages", action="store_true", help="print their names and stop")
    args = parser.parse_args()
    if args.packages or args.folder is None:
        print(*packages())
        return
    arrays = render_all(args.folder)
    np.savez_compressed(args.folder / "icons.npz", **arrays)  # type: ignore[arg-type]
    for each in SETS:
        print(f"{each.name:12} {len(arrays[each.name]):4} drawings  {each.licence}  {each.authors}")


if __name__ == "__main__":
    main()
