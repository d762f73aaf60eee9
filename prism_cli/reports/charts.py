"""Charts as inline SVG; their colours are the page's, by class."""

from __future__ import annotations

from dataclasses import dataclass

from prism_cli.reports.model import Curve

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 10, 26


@dataclass(frozen=True, slots=True)
class LineChart:
    """A curve laid out on WIDTH x HEIGHT: places of the line's points, and labels at the ends."""

    line: str
    last: tuple[float, float]
    low: str
    high: str
    first_step: str
    last_step: str


def line_chart(curve: Curve) -> LineChart | None:
    """Lay out a curve; None where there are fewer than two points, or all are at one step."""
    if len({step for step, _ in curve.points}) < 2:
        return None
    steps, losses = zip(*curve.points, strict=True)
    low, high = min(losses), max(losses)
    room = high - low or 1.0

    def place(step: float, loss: float) -> tuple[float, float]:
        across = (step - steps[0]) / (steps[-1] - steps[0])
        down = (high - loss) / room
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(TOP + down * (HEIGHT - TOP - BOTTOM), 1),
        )

    places = [place(step, loss) for step, loss in curve.points]
    return LineChart(
        line=" ".join(f"{x},{y}" for x, y in places),
        last=places[-1],
        low=f"{low:.3g}",
        high=f"{high:.3g}",
        first_step=str(steps[0]),
        last_step=str(steps[-1]),
    )


def shade(value: float, low: float, high: float) -> float:
    """How strongly a cell is filled: 0 at `low`, 1 at `high`."""
    return 0.0 if high <= low else round((value - low) / (high - low), 3)
