"""A matrix as a picture."""

from __future__ import annotations

import pytest

from prism_cli.reports.heat_map import heat_map

MOST, LEAST = (150, 20, 60), (255, 255, 255)


def test_the_largest_is_dark_and_nothing_is_white() -> None:
    """Each cell has the shade of its value: read near the cell's corner, away from the number."""
    picture = heat_map([[0.0, 4.0], [2.0, 0.0]], ["a", "b"], ["c", "d"], "t")

    def at(row: int, column: int) -> tuple[int, ...]:
        pixel = picture.getpixel((96 + 56 * column + 6, 64 + 56 * row + 6))
        assert isinstance(pixel, tuple)
        return pixel

    assert at(0, 1) == MOST
    assert at(0, 0) == at(1, 1) == LEAST
    middle = [round((a + b) / 2) for a, b in zip(LEAST, MOST, strict=True)]
    assert all(abs(a - b) <= 1 for a, b in zip(at(1, 0), middle, strict=True))


def test_all_zero_is_all_white() -> None:
    """No division by nothing."""
    assert heat_map([[0.0]], ["a"], ["b"], "t").getpixel((102, 70)) == LEAST


@pytest.mark.parametrize("matrix", [[], [[1.0]], [[1.0, 2.0], [1.0]]])
def test_names_must_match(matrix: list[list[float]]) -> None:
    """Two rows and two columns are named."""
    with pytest.raises(ValueError, match="a name for each"):
        heat_map(matrix, ["a", "b"], ["c", "d"], "t")
