"""The tables of compositions: what they make of findings, and that docs/results.md has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.composition import (
    HAND,
    Cell,
    by_concept,
    clothes,
    compositions,
    likeness_of_layers,
    transfers,
    trust,
)
from benchmarks.peers.concepts import STYLE_SETS, SUBJECTS
from benchmarks.results import Finding

ROOT = Path(__file__).parents[2]


def test_a_concept_keeps_what_is_left_above_its_floor() -> None:
    """85 %; and nothing, where it has nothing."""
    alone = {"floor": 0.2, "likeness": 0.8}

    assert Cell("a", alone, composed=0.2 + 0.85 * 0.6 + 1e-9, true=0.9).keeps(0.8)
    assert not Cell("a", alone, composed=0.7, true=0.9).keeps(0.8)
    assert not Cell("a", alone, composed=0.9, true=0.9).keeps(0.2)


def test_a_mean_is_over_concepts_of_their_cells() -> None:
    """However many cells a concept has."""
    cells = [Cell(name, {}, composed, 1.0) for name, composed in (("a", 0.2), ("a", 0.4), ("b", 1))]

    assert by_concept(cells, lambda cell: cell.composed).startswith("0.65 (")


@pytest.fixture(scope="module")
def found() -> dict[str, Finding]:
    """What is committed."""
    lines = (ROOT / "benchmarks/findings/composition.jsonl").read_text("utf-8").splitlines()
    return {key: value for line in lines[1:] for key, value in json.loads(line).items()}


def test_the_results_page_has_what_was_found(found: dict[str, Finding]) -> None:
    """Every line of every table."""
    keys = [key.split() for key in found]
    place = [*SUBJECTS, *(f"{name}{HAND}" for name in STYLE_SETS)].index  # as intervals are drawn
    beside, styled = (
        sorted(
            ((k[1], k[2]) for k in keys if k[0] == kind and k[1] != "plain" and k[3:] == ["sum"]),
            key=lambda pair: [place(name) for name in pair],
        )
        for kind in ("beside", "styled")
    )
    assert len(beside) == len(styled) == 12 and all(style.endswith(HAND) for _, style in styled)
    page = (ROOT / "docs/results.md").read_text("utf-8").splitlines()

    for lines in (
        compositions(found, beside, styled),
        transfers(found, [k[1] for k in keys if k[0] == "moved"]),
        clothes(found, [k[1] for k in keys if k[0] == "worn"]),
        likeness_of_layers(found["layers"]),
        trust(found["hands"]),
    ):
        assert [line for line in lines if line not in page] == []
