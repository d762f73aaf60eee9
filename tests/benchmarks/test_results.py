"""The file that a long benchmark goes on from."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks.results import Results, add_settings, part_of, settings_of

SETTINGS = {"base": "1", "sizes": (1, 2)}


def never() -> dict[str, int]:
    """What is not to be asked for."""
    raise AssertionError("it is known")


def test_nothing_is_found_twice(tmp_path: Path) -> None:
    """By a later process, nor in the same one."""
    path = tmp_path / "deep" / "found.jsonl"
    first = Results(path, SETTINGS)
    assert first.once("a", lambda: {"x": 1}) == first.once("a", never) == {"x": 1}

    assert Results(path, SETTINGS).once("a", never) == {"x": 1}


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    one, other = Results(path, SETTINGS), Results(path, SETTINGS)
    one.once("a", lambda: {"x": 1})
    other.once("b", lambda: {"x": 2})

    assert Results(path, SETTINGS).found == {"a": {"x": 1}, "b": {"x": 2}}


def test_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    Results(path, SETTINGS)
    with pytest.raises(SystemExit, match="of another run"):
        Results(path, SETTINGS | {"base": "2"})


def test_a_line_that_was_cut_short_is_found_again(tmp_path: Path) -> None:
    """And the next one does not begin in its middle."""
    path = tmp_path / "found.jsonl"
    results = Results(path, SETTINGS)
    results.once("a", lambda: {"x": 1})
    with path.open("a") as file:
        file.write('{"b": {"x"')
    results.once("c", lambda: {"x": 3})  # of a process that goes on

    again = Results(path, SETTINGS)
    assert again.found == {"a": {"x": 1}, "c": {"x": 3}}
    again.once("b", lambda: {"x": 2})
    assert Results(path, SETTINGS).found == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}


def test_the_parts_are_the_whole() -> None:
    every = list(range(7))
    parts = [part_of(every, f"{k}/3") for k in (1, 2, 3)]

    assert sorted(number for part in parts for number in part) == every
    assert part_of(every, "1/1") == every
    with pytest.raises(SystemExit):
        part_of(every, "0/3")


def test_a_part_does_its_jobs_and_no_other(tmp_path: Path) -> None:
    results = Results(tmp_path / "found.jsonl", SETTINGS)
    results.once("a", lambda: {"x": 1})
    results.find({"a": never, "b": never, "c": lambda: {"x": 3}}, "1/2")

    assert results.found == {"a": {"x": 1}, "c": {"x": 3}}


@pytest.mark.parametrize(
    "line", ["--set tokens.lr=6e-4 tokens.steps=3", "--set tokens.lr=6e-4 --set tokens.steps=3"]
)
def test_settings_add_up(line: str) -> None:
    """Given at once or one by one; none is lost."""
    parser = argparse.ArgumentParser()
    add_settings(parser)

    assert settings_of(parser.parse_args(line.split())) == {"tokens.lr": 6e-4, "tokens.steps": 3}
    assert settings_of(parser.parse_args([])) == {}
