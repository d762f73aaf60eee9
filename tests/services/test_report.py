"""What a report gathers from an archive of any origin, and the loss curves in it."""

from __future__ import annotations

import dataclasses
import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from prism_cli import paths
from prism_cli.registry.archive import pack
from prism_cli.registry.store import Registry
from prism_cli.reports.html import render_html
from prism_cli.reports.markdown import render_markdown
from prism_cli.services.concept_archive import CURVE_POINTS, read_curve, written_curve
from prism_cli.services.evaluation_store import EvaluationStore
from prism_cli.services.events import Event, Note
from prism_cli.services.pictures import from_png
from prism_cli.services.report import ReportRequest, gather, write_report
from tests.cli import worlds
from tests.registry.samples import MANIFEST, MEMBERS, composition, png
from tests.reports.samples import EVALUATION


@given(st.lists(st.floats(1e-6, 1e3), max_size=CURVE_POINTS))
def test_a_curve_is_read_as_it_was_written(curve: list[float]) -> None:
    """To four digits."""
    assert read_curve(written_curve(curve)) == pytest.approx(curve, rel=1e-3)


@given(st.integers(CURVE_POINTS + 1, 5000))
def test_a_long_curve_is_thinned(count: int) -> None:
    """Evenly, its ends kept."""
    points = read_curve(written_curve([float(k) for k in range(count)]))

    assert len(points) == CURVE_POINTS
    assert (points[0], points[-1]) == (0, pytest.approx(count - 1, rel=1e-3))
    gaps = [b - a for a, b in pairwise(points)]
    assert max(gaps) - min(gaps) <= 2 + 1e-3 * count  # of rounding to a point, and to four digits


@pytest.mark.parametrize("text", ["", "x y", "1 nan", "inf", 5j])
def test_what_is_no_curve_is_none(text: object) -> None:
    assert read_curve(text) == ()


def test_metrics_of_another_program() -> None:
    """An archive may have any metrics, or none; the report shows what it can."""
    metrics = {
        "tokens.steps": 20,
        "tokens.ended": "plateau",
        "tokens.curve": "1.5 1 0.5",
        "lora.steps": "many",
        "lora.curve": "1 0.5",
    }
    worlds.keep("mydog", pack(dataclasses.replace(MANIFEST, metrics=metrics), MEMBERS))
    archive = Registry(paths.concepts_dir()).load("mydog")

    report = gather(archive, EvaluationStore.of(archive), None)

    (curve,) = report.curves
    assert curve.points == ((0, 1.5), (10, 1.0), (20, 0.5))
    assert curve.ended == "came to rest after 20 steps"
    assert [caption.text for caption in report.captions] == [p.caption for p in MANIFEST.photos]
    assert {s.name: (s.value, s.source) for s in report.settings}["steps"] == ("200", "flag")


def test_a_stage_without_a_step_has_no_chart() -> None:
    """An archive of another program may say so, with losses all the same."""
    metrics = {"tokens.steps": 0, "tokens.curve": "1 0.5"}
    worlds.keep("mydog", pack(dataclasses.replace(MANIFEST, metrics=metrics), MEMBERS))
    archive = Registry(paths.concepts_dir()).load("mydog")

    page = render_html(gather(archive, EvaluationStore.of(archive), None))

    assert "after 0 steps" in page and "<polyline" not in page


def test_a_preview_that_is_damaged_is_left_out() -> None:
    """An archive is checked for a PNG's header alone; the rest of the report is there."""
    preview = MEMBERS["preview.png"]
    members = {**MEMBERS, "preview.png": preview[:33] + bytes(len(preview) - 33)}
    worlds.keep("mydog", pack(MANIFEST, members))
    archive = Registry(paths.concepts_dir()).load("mydog")
    notes: list[Event] = []

    report = gather(archive, EvaluationStore.of(archive), None, notes.append)

    assert report.preview is None
    assert notes == [Note("the preview in the archive is damaged: left out", "warning")]


def test_the_sheet_is_of_the_evaluation() -> None:
    """Where its pictures are gone, the preview stands in for them; a name may hold a space."""
    worlds.keep("mydog")
    store = EvaluationStore.of(Registry(paths.concepts_dir()).load("mydog"))
    store.keep(EVALUATION)
    for name in (*EVALUATION.prompts[0].pictures, *EVALUATION.prompts[0].base_pictures):
        store.picture(name).parent.mkdir(exist_ok=True)
        store.picture(name).write_bytes(png())
    request = ReportRequest(name="mydog", out=Path("my card.md"), markdown=True)

    with_sheet = write_report(request)
    assert with_sheet.picture == Path("my card-drawn.png") and with_sheet.picture.is_file()
    assert "](my%20card-drawn.png)" in Path("my card.md").read_text("utf-8")

    store.picture(EVALUATION.prompts[0].pictures[0]).unlink()
    without = write_report(dataclasses.replace(request, out=Path("card.md")))
    text = Path("card.md").read_text("utf-8")
    assert without.picture == Path("card-drawn.png")
    drawn, preview = (from_png(p) for p in (without.picture.read_bytes(), MEMBERS["preview.png"]))
    assert drawn.convert("RGB").tobytes() == preview.convert("RGB").tobytes()
    assert "](card-drawn.png)" in text


def test_a_list_of_prompts_may_lie_in_a_file_of_any_name() -> None:
    """Linux's names are bytes, which need be no text."""
    worlds.keep("mydog")
    store = EvaluationStore.of(Registry(paths.concepts_dir()).load("mydog"))
    store.keep(dataclasses.replace(EVALUATION, prompt_list="p\udcff.txt"))

    for name, markdown in (("page.html", False), ("card.md", True)):
        write_report(ReportRequest(name="mydog", out=Path(name), markdown=markdown))
        assert "p\\udcff.txt" in Path(name).read_text("utf-8").replace("\\\\", "\\")


def test_a_card_of_a_damaged_preview_has_no_picture() -> None:
    preview = MEMBERS["preview.png"]
    members = {**MEMBERS, "preview.png": preview[:33] + bytes(len(preview) - 33)}
    worlds.keep("mydog", pack(MANIFEST, members))

    written = write_report(ReportRequest(name="mydog", out=Path("card.md"), markdown=True))

    assert written.picture is None and not Path("card-drawn.png").exists()
    assert "![" not in Path("card.md").read_text("utf-8")


def test_a_composition_says_of_what() -> None:
    worlds.keep("catink", composition())
    archive = Registry(paths.concepts_dir()).load("catink")

    report = gather(archive, EvaluationStore.of(archive), None)

    assert report.facts["composed of"] == ", ".join(p.name for p in archive.manifest.parents)
    assert [command for command, _ in report.use] == [
        'prism gen "[catink]" -n 4', 'prism gen "[catink:0.7]" --seed 7'
    ]  # fmt: skip


def test_a_composition_is_sent_to_no_evaluation() -> None:
    """Which would refuse it; and nothing is said of photos and captions that it has none of."""
    worlds.keep("catink", composition())
    archive, said = Registry(paths.concepts_dir()).load("catink"), list[Event]()

    report = gather(archive, EvaluationStore.of(archive), None)
    write_report(ReportRequest(name="catink"), said.append)

    for text in (render_html(report), render_markdown(report)):
        assert "prism eval" not in text and "photos" not in text and "Captions" not in text
    assert not any(isinstance(each, Note) and "prism eval" in each.text for each in said)


def test_leakage_is_shown_where_it_was_measured(tmp_path: Path) -> None:
    """Photo by photo, with both means in words."""
    worlds.keep("mydog")
    archive = Registry(paths.concepts_dir()).load("mydog")
    store = EvaluationStore(tmp_path)
    leaked = ((0.5, 0.125), (0.25, 1.0))
    for matrix in (None, leaked):
        store.keep(dataclasses.replace(EVALUATION, target=(), prompts=(), leakage=matrix))
        shown = gather(archive, store, None).leakage

    assert shown is not None
    assert (shown.labels, shown.values) == (("photo 0", "photo 1"), leaked)
    assert "0.75 on average" in shown.note and shown.note.endswith("0.188.")


def test_photos_that_it_was_learned_from_are_shown_whatever_their_size() -> None:
    """Those of a small base have fewer pixels than a page has room for."""
    Path("photos").mkdir()
    hashes = []
    for side in (16, 48):
        path = Path(f"photos/{side}.png")
        Image.effect_noise((side, side), 90).convert("RGB").save(path)
        hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
    photos = tuple(
        dataclasses.replace(photo, sha256=digest)
        for photo, digest in zip(MANIFEST.photos, hashes, strict=True)
    )
    worlds.keep("mydog", pack(dataclasses.replace(MANIFEST, photos=photos), MEMBERS))
    archive = Registry(paths.concepts_dir()).load("mydog")

    report = gather(archive, EvaluationStore.of(archive), Path("photos"))

    assert [photo.label for photo in report.references] == ["photo 0", "photo 1"]
