"""A report as HTML and as Markdown: what is in it, and that nothing in it can act."""

from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from prism_cli.reports.charts import HEIGHT, WIDTH, line_chart, shade
from prism_cli.reports.html import render_html
from prism_cli.reports.markdown import render_markdown
from prism_cli.reports.model import Curve
from tests.registry.samples import png
from tests.reports.samples import BARE, FULL, NASTY


class Page(HTMLParser):
    """The tags and the text of a page; a tag that is never closed is a problem."""

    VOID = frozenset({"meta", "link", "img", "line", "circle", "polyline"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def headings(text: str) -> list[str]:
    """The sections of a page."""
    return re.findall(r"<h2>(.*)</h2>", text)


def test_every_section_is_there() -> None:
    """And its numbers, each beside the base's own and the encoder that gave it."""
    page = render_html(FULL)
    text = " ".join(Page(page).text.split())

    assert headings(page) == [
        *("Use it", "Photos", "Scores", "What each token holds", "Interference", "Leakage"),
        *("Drawn", "Training", "Captions", "Settings"),
    ]
    for said in (
        "CLIP ViT-B/32",
        "0.312",
        "0.250",
        "0.750",
        "3 of 4",
        "0.301 to 0.954",
        "Low is good.",
        "step 10",
    ):
        assert said in text
    assert "came to rest after 20 steps" in text


def test_a_section_without_content_is_left_out() -> None:
    """A concept that was not evaluated says how it is."""
    page = render_html(BARE)

    assert headings(page) == ["Use it", "Scores", "Captions", "Settings"]
    assert "prism eval mydog" in page and "<img" not in page
    assert "prism eval mydog" in render_markdown(BARE)


def test_nothing_in_a_caption_acts() -> None:
    """A caption is text, whatever it holds; the page has no script and loads nothing."""
    page = Page(render_html(FULL))

    assert " ".join(NASTY.split()) in " ".join(page.text.split())
    assert "script" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:"), tag
    assert "url(" not in render_html(FULL) and "@import" not in render_html(FULL)


def test_pictures_are_in_the_page_as_they_are() -> None:
    """Byte for byte, each with its size and what it shows."""
    images = [attributes for tag, attributes in Page(render_html(FULL)).tags if tag == "img"]

    assert len(images) == 1 + 2 + 1 + 1 + 3 + 4 + 1
    for image in images:
        source = image["src"] or ""
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == png()
        assert image["alt"] and (image["width"], image["height"]) == ("2", "1")


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_the_same_report_gives_the_same_text(render) -> None:  # type: ignore[no-untyped-def]
    assert render(FULL) == render(dataclasses.replace(FULL))
    assert render(FULL) != render(BARE)


def test_markdown_is_text_in_tables() -> None:
    """Every row has its head's columns, and no markup of a caption is any."""
    text = render_markdown(FULL, "mydog-drawn.png")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    columns = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)

    assert all(len({len(re.findall(r"(?<!\\)\|", r)) for r in t.splitlines()}) == 1 for t in tables)
    assert len(columns) > 15
    assert "<script>" not in text and r"\*bold\*" in text and r"\[link\]" in text
    assert "![What mydog draws](mydog-drawn.png)" in text
    assert "| Concept Fidelity | 3 of 4 | 0.750 | 0.301 to 0.954 | 1 |" in text
    assert "| Text Alignment | 0 of 0 |  |  | 5 |" in text
    assert "| CLIP-T | CLIP ViT-B/32 | 0.312 | 0.250 |  |" in text
    assert '    prism gen "A [mydog] box" -n 4' in text
    assert r"| -0.125 | clip\_l 0.500, t5 0.250 | 1 of 2 |" in text
    assert "| dog | design | 0.750 | 0.500 |" in text


@pytest.mark.parametrize("name", ["my card-drawn.png", "a)(b].png", "50%.png", "h\udcff.png"])
def test_a_file_of_any_name_is_linked(name: str) -> None:
    """Its address has no character that would end it, and is the file's name again."""
    found = re.search(r"^!\[What mydog draws\]\((.*)\)$", render_markdown(FULL, name), re.MULTILINE)

    assert found is not None and re.fullmatch(r"[A-Za-z0-9%._~-]+", found[1])
    assert unquote(found[1], errors="surrogateescape") == name


class TestCharts:
    """Where a line is drawn."""

    def test_a_fall_runs_from_the_top_left_to_the_bottom_right(self) -> None:
        curve = Curve(stage="tokens", ended="", points=((0, 2.0), (10, 1.0), (20, 0.0)))
        chart = line_chart(curve)

        assert chart is not None
        (x0, y0), (x1, y1), (x2, y2) = (
            tuple(map(float, place.split(","))) for place in chart.line.split()
        )
        assert 0 < x0 < x1 < x2 < WIDTH and 0 < y0 < y1 < y2 < HEIGHT
        assert x1 == pytest.approx((x0 + x2) / 2) and y1 == pytest.approx((y0 + y2) / 2)
        assert (chart.high, chart.low, chart.last_step) == ("2", "0", "20")

    def test_a_line_that_goes_nowhere(self) -> None:
        """As of an archive whose stage took no step."""
        assert line_chart(Curve(stage="x", ended="", points=((0, 1.0), (0, 0.5)))) is None

    def test_a_level_line_and_a_single_point(self) -> None:
        assert line_chart(Curve(stage="x", ended="", points=((0, 1.0), (5, 1.0)))) is not None
        assert line_chart(Curve(stage="x", ended="", points=((0, 1.0),))) is None

    def test_shades(self) -> None:
        assert [shade(v, 1, 3) for v in (1, 2, 3)] == [0.0, 0.5, 1.0]
        assert shade(1, 1, 1) == 0.0
