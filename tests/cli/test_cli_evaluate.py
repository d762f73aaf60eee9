"""`prism eval` and `prism report` as they are typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import worlds
from tests.cli.running import call
from tests.services import concepts

Golden = Callable[[str, str], None]
QUICK = ("--prompts", "p.txt", "-n", "1", "--steps", "1", "--guidance", "1")


@pytest.fixture
def prompts() -> None:
    Path("p.txt").write_text("a * in the snow\n", "utf-8")


def test_evaluate_and_report(home: Path, prompts: None, golden: Golden) -> None:
    """Measured in a pipe, then shown on a page: what is printed, and what is written."""
    lines = []
    for line in (
        f"eval mydog --photos photos {' '.join(QUICK)}",
        f"eval mydog --photos photos {' '.join(QUICK)} --dry-run",
        "report mydog --photos photos",
        "report mydog --markdown -o card.md",
    ):
        ran = call(*line.split())
        assert ran.status == 0, ran.stderr
        lines += [f"$ prism {line}", ran.stdout + "[stderr]", ran.stderr.rstrip("\n")]
    golden("evaluate-session", re.sub(r" +-?[0-9]\.[0-9]{3}\b", "  N", "\n".join(lines)))

    page, card = Path("mydog-report.html").read_text("utf-8"), Path("card.md").read_text("utf-8")
    assert page.count("<img") == 1 + 2 + 1 + 2 * 3 + 2 and "Training" in page
    assert page.count("<polyline") == 2  # the archive holds both stages' losses
    assert "(card-drawn.png)" in card and Path("card-drawn.png").is_file()


def test_in_json_and_quiet(prompts: None) -> None:
    """One document, or one path."""
    concepts.keep("mydog")
    found = json.loads(call("eval", "mydog", *QUICK, "--json").stdout)
    plan = json.loads(call("eval", "mydog", *QUICK, "--dry-run", "--json").stdout)
    again = call("eval", "mydog", *QUICK, "-q")
    report = json.loads(call("report", "mydog", "--json").stdout)

    assert found["evaluation"]["scores"][0]["name"] == "image-text"
    assert plan["plan"]["total"] == 1 + 1 + 1 + 1 + 2 + 2
    assert again.stdout == f"{found['folder']}\n"
    assert (report["path"], report["evaluated"]) == ("mydog-report.html", True)


def test_a_report_needs_no_evaluation() -> None:
    """And no base: an archive of any origin has one."""
    worlds.keep("mydog")

    ran = call("report", "mydog", "-q")

    assert (ran.status, ran.stdout) == (0, "mydog-report.html\n")
    assert "prism eval mydog" in Path("mydog-report.html").read_text("utf-8")


def test_an_ablation_is_planned() -> None:
    """--dry-run says how many trainings it would be."""
    worlds.photos(Path(), 2)

    plan = json.loads(call("ablate", "photos", "--dry-run", "--json").stdout)["plan"]

    assert plan == {"cells": 4 + 5, "missing": 9, "pictures": 9 * 100}  # mini's beta is another
