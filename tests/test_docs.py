"""The reference says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from prism_cli.backbones.catalog import MINI_RECIPE
from prism_cli.cli.main import COMMANDS
from prism_cli.settings import Recipe

DOCS = Path(__file__).parents[1] / "docs"


def test_every_setting_has_its_row_with_both_defaults() -> None:
    """The table of settings is complete and its numbers are the code's."""
    lines = (DOCS / "reference.md").read_text("utf-8").splitlines()
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    documented = {row[0]: (row[2], row[3]) for row in rows if len(row) == 4 and "." in row[0]}

    usual, mini = Recipe().flat(), MINI_RECIPE.flat()

    assert documented == {name: (shown(usual[name]), shown(mini[name])) for name in usual}


def shown(value: float | str) -> str:
    """A default as the table has it."""
    return value if isinstance(value, str) else f"{value:g}"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_in_the_reference(command: str) -> None:
    """A command that is not documented does not exist for its user."""
    text = (DOCS / "reference.md").read_text("utf-8")

    assert f"`prism {command} " in text or f"(`{command}`)" in text or f"`prism {command}`" in text
