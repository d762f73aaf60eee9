"""How sure a satisfaction rate is (supplement, section 12): an interval of a share of pictures."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

LEVEL = 0.95


def wilson_interval(satisfied: int, answered: int, level: float = LEVEL) -> tuple[float, float]:
    """The score interval of a share: `satisfied` of `answered` answers that say yes.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    Within 0 and 1 at any number of answers, and of a width above 0 where all say the same. Raises
    ValueError where there is no answer.
    """
    if not 0 <= satisfied <= answered or answered == 0:
        raise ValueError(f"{satisfied} of {answered} is no share")
    z = NormalDist().inv_cdf((1 + level) / 2)
    n, p = answered, satisfied / answered
    scale = 1 + z**2 / n
    centre = (p + z**2 / (2 * n)) / scale
    half = z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / scale
    low = 0.0 if satisfied == 0 else centre - half  # which rounding would miss by an ulp
    high = 1.0 if satisfied == answered else centre + half
    return low, high
