"""The page in a real browser, where there is one: narrow and wide, light and dark, printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prism_cli.reports.html import render_html
from tests.browser import Browser, browsing, find_browser
from tests.reports.samples import BARE, FULL

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no Chromium here: the page was not looked at in a browser"
)
# What reaches beyond the window, but for what scrolls inside itself.
TOO_WIDE = """
[...document.querySelectorAll('main *')]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.matrix'))
  .map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 40))
"""
BROKEN = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with browsing(PROGRAM) as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_is_whole_at_every_width(browser: Browser, width: int, scheme: str) -> None:
    """No complaint on the console, no request, no scroll sideways, every picture there."""
    page = Path("report.html")
    page.write_text(render_html(FULL), "utf-8")

    browser.open(page, width, scheme)

    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [
        page.resolve().as_uri()
    ]
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value(TOO_WIDE) == []
    assert browser.value("document.images.length") == 13 and browser.value(BROKEN) == 0


def test_it_follows_the_colour_scheme(browser: Browser) -> None:
    """Dark ink on light paper, and the other way round."""
    Path("report.html").write_text(render_html(BARE), "utf-8")
    colours = "getComputedStyle(document.body).{} .match(/[0-9]+/g).slice(0, 3).map(Number)"
    brightness = {}
    for scheme in ("light", "dark"):
        browser.open(Path("report.html"), 1280, scheme)
        ink, paper = (
            sum(browser.value(colours.replace("{} ", what)))
            for what in ("color", "backgroundColor")
        )
        brightness[scheme] = (ink, paper)

    assert brightness["light"][0] < 200 and brightness["light"][1] > 700
    assert brightness["dark"][0] > 600 and brightness["dark"][1] < 150


def test_it_prints(browser: Browser) -> None:
    """As a PDF of several pages."""
    Path("report.html").write_text(render_html(FULL), "utf-8")
    browser.open(Path("report.html"), 1280)

    assert len(browser.ask("Page.printToPDF", printBackground=False)["data"]) > 10_000
