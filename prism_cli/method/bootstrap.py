"""A mean over concepts and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator

DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its percentile bootstrap interval; without one where there is one value only."""

    mean: float
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float], rng: Generator) -> Interval:
    """The mean of `values`, one a concept, and the middle `LEVEL` of the means of resamples.

    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3. Raises ValueError
    where there is no value.
    """
    if not values:
        raise ValueError("a mean needs a value")
    sample = torch.tensor(values, dtype=torch.float64)
    if len(sample) < 2:
        return Interval(sample.item(), None, None)
    picked = torch.randint(len(sample), (DRAWS, len(sample)), generator=rng)
    means = sample[picked].mean(1)
    low, high = means.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]).double()).tolist()
    return Interval(sample.mean().item(), low, high)
