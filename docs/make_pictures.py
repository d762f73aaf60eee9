"""Draw the README's picture: the five photos of examples/zuzu, and the concept learned from them.

    make demo && .venv/bin/python docs/make_pictures.py

Takes what `make demo` drew, with no choice among the results.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from prism_cli.reports.contact_sheet import contact_sheet

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write docs/images/zuzu.png."""
    photos = sorted((ROOT / "examples" / "zuzu").glob("*.png"))
    drawn = [ROOT / "demo" / f"zuzu-{seed}.png" for seed in range(1, 5)]
    shown = [Image.open(path) for path in (*photos, *drawn)]
    captions = [f"photo {k}" for k in range(1, len(photos) + 1)]
    captions += [f"drawn, seed {k}" for k in range(1, len(drawn) + 1)]
    folder = ROOT / "docs" / "images"
    folder.mkdir(exist_ok=True)
    sheet = contact_sheet(shown, captions, columns=5, tile=160)
    sheet.save(folder / "zuzu.png", optimize=True)


if __name__ == "__main__":
    main()
