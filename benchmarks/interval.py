"""How every benchmark writes a mean over concepts."""

from __future__ import annotations

from collections.abc import Sequence

from prism_cli.method.bootstrap import mean_interval
from prism_cli.runtime import generator


def with_interval(values: Sequence[float], form: str = ".2f") -> str:
    """A mean and its 95 % bootstrap interval, the same at each call; bare where there is one value.

    form: of each number.
    """
    found = mean_interval(values, generator(0))
    if found.low is None:
        return f"{found.mean:{form}}"
    return f"{found.mean:{form}} ({found.low:{form}} to {found.high:{form}})"
