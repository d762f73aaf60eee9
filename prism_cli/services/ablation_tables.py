"""The tables of an ablation, in the paper's layout (supplement, Tables 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from prism_cli.method.bootstrap import Interval, mean_interval
from prism_cli.runtime import generator
from prism_cli.services.ablation_rows import Row
from prism_cli.settings import TokenOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One ablation in the paper's layout. scores: a row a score, a column a value."""

    title: str
    symbol: str
    values: tuple[float, ...]
    scores: Mapping[str, tuple[Interval, ...]]


def tables(
    rows: Sequence[Row], lengths: Sequence[int], betas: Sequence[float], usual: TokenOptions
) -> Iterator[Table]:
    """A table for each study that has values; the other setting is the usual one."""
    if lengths:
        settings = [(n, usual.beta) for n in lengths]
        yield _table("Target token length (Table 5)", "n", lengths, settings, rows)
    if betas:
        settings = [(usual.length, beta) for beta in betas]
        yield _table("Exclusion loss weight (Table 6)", "beta", betas, settings, rows)


def _table(
    title: str,
    symbol: str,
    values: Sequence[float],
    settings: Sequence[tuple[int, float]],
    rows: Sequence[Row],
) -> Table:
    """Means over concepts, of means over seeds, with their bootstrap intervals."""
    scores = {
        score: tuple(
            mean_interval(_by_concept(rows, setting, score), generator(0)) for setting in settings
        )
        for score in (rows[0].scores if rows else ())
    }
    return Table(title=title, symbol=symbol, values=tuple(values), scores=scores)


def _by_concept(rows: Sequence[Row], setting: tuple[int, float], score: str) -> list[float]:
    chosen = [row for row in rows if (row.length, row.beta) == setting]
    return [
        fmean(row.scores[score] for row in chosen if row.concept == concept)
        for concept in sorted({row.concept for row in chosen})
    ]
