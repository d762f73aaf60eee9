"""A report as one HTML file: no script, no network, nothing beside it."""

from __future__ import annotations

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from prism_cli.reports import charts
from prism_cli.reports.model import Matrix, Picture, Report


def render_html(report: Report) -> str:
    """The page of `report`: the same one for the same report."""
    return _template().render(
        report=report,
        charts=[(curve, charts.line_chart(curve)) for curve in report.curves],
        size=charts,
    )


@cache
def _template() -> Template:
    """The page with its helpers. Every value is escaped: a caption may hold anything."""
    environment = Environment(
        loader=PackageLoader("prism_cli.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["src"] = _source
    environment.filters["number"] = _number
    environment.filters["rows"] = _rows
    return environment.get_template("report.html.jinja")


def _source(picture: Picture) -> str:
    """The picture as an address that holds it."""
    return f"data:{picture.mime};base64,{base64.b64encode(picture.data).decode()}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _rows(matrix: Matrix) -> list[tuple[str, list[tuple[float, float]]]]:
    """Each row's label, and its values with how strongly their cells are filled."""
    every = [value for row in matrix.values for value in row]
    low, high = min(every, default=0.0), max(every, default=0.0)
    return [
        (label, [(value, charts.shade(value, low, high)) for value in row])
        for label, row in zip(matrix.labels, matrix.values, strict=True)
    ]
