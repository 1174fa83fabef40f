"""Statistics of paired differences: Student's t, exact sign flips, Welch's interval, Holm's steps.

numpy has no t distribution; its tail is here the incomplete beta function as a continued fraction
(Press et al., Numerical Recipes, 3rd edition, section 6.4; modified Lentz method).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LEVEL = 0.95
"""of confidence intervals"""
ENOUGH = 6
"""pairs: with fewer, not even differences that all have one sign reach p = 0.05 by sign flips"""

_MOST_FLIPPED = 20
"""pairs of which all 2^n sign flips are tried"""
_TINY = 1e-300
_PRECISE = 1e-15
_MOST_SEEDS = 1000
_NAN = float("nan")


def two_sided_p(t: float, freedom: float) -> float:
    """P(|T| >= |t|) for Student's t with `freedom` degrees, which may be a fraction.

    >>> round(two_sided_p(2.776445, 4), 6)
    0.05
    """
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """The t with P(|T| <= t) = `level`: half the width of an interval in standard errors.

    >>> [round(t_quantile(freedom), 3) for freedom in (1, 2, 4, 9)]
    [12.706, 4.303, 2.776, 2.262]
    """
    low = 0.0
    high = 1.0
    while two_sided_p(high, freedom) > 1 - level:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if two_sided_p(middle, freedom) > 1 - level:
            low = middle
        else:
            high = middle
    return high


def half_width(differences: np.ndarray) -> float:
    """Half the width of the interval of the mean of differences (n); NaN for fewer than two."""
    n = len(differences)
    if n < 2:
        return _NAN
    return t_quantile(n - 1) * float(differences.std(ddof=1)) / math.sqrt(n)


def paired_p(differences: np.ndarray) -> float:
    """Two-sided p of the paired t test on differences (n).

    NaN for fewer than two, and where all are equal.
    """
    n = len(differences)
    deviation = _deviation(differences)
    if n < 2 or deviation == 0:
        return _NAN
    return two_sided_p(float(differences.mean()) / (deviation / math.sqrt(n)), n - 1)


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p of the exact test that flips the signs of differences (n) in all 2^n ways.

    The least possible value is 2 / 2^n. NaN for none, for more than 20, and where all are 0.
    """
    n = len(differences)
    if not 0 < n <= _MOST_FLIPPED or not differences.any():
        return _NAN
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    rounding = 1e-9 * float(np.abs(differences).sum())
    return float((np.abs(sums) >= abs(differences.sum()) - rounding).mean())


def welch_half_width(a: np.ndarray, b: np.ndarray) -> float:
    """Half the width of the interval of mean(a) - mean(b) if (n) and (m) were not paired.

    NaN for fewer than two of either, and where both are constant.
    """
    if len(a) < 2 or len(b) < 2:
        return _NAN
    of_a = float(a.var(ddof=1)) / len(a)
    of_b = float(b.var(ddof=1)) / len(b)
    if of_a + of_b == 0:
        return _NAN
    freedom = (of_a + of_b) ** 2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1))
    return t_quantile(freedom) * math.sqrt(of_a + of_b)


def holm(p: Sequence[float]) -> list[float]:
    """Values of p adjusted for testing all of them (Holm 1979); NaN counts as no test.

    >>> holm([0.01, 0.02, 0.03, 0.004])
    [0.03, 0.04, 0.04, 0.016]
    """
    tested = [place for place, value in enumerate(p) if not math.isnan(value)]
    tested.sort(key=lambda place: p[place])
    adjusted = [_NAN] * len(p)
    largest = 0.0
    for before, place in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - before) * p[place]))
        adjusted[place] = largest
    return adjusted


def seeds_to_tell(differences: np.ndarray) -> int:
    """About how many pairs an interval needs that leaves 0 out, were mean and spread to stay.

    At least `ENOUGH`. 0 where that is not known (fewer than two, no mean) or above 1,000.
    """
    deviation = _deviation(differences)
    mean = abs(float(differences.mean()))
    if len(differences) < 2 or mean == 0:
        return 0
    for n in range(ENOUGH, _MOST_SEEDS + 1):
        if t_quantile(n - 1) * deviation / math.sqrt(n) < mean:
            return n
    return 0


def _deviation(differences: np.ndarray) -> float:
    """Sample standard deviation; 0 where values differ by rounding alone."""
    if len(differences) < 2:
        return 0.0
    deviation = float(differences.std(ddof=1))
    return deviation if deviation > 1e-12 * float(np.abs(differences).max()) else 0.0


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for 0 <= x <= 1."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    logarithm = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return math.exp(logarithm) * _fraction(a, b, x) / a
    return 1 - math.exp(logarithm) * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function."""
    c = 1.0
    d = 1 / _nonzero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _nonzero(1 + even * d)
        c = _nonzero(1 + even / c)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _nonzero(1 + odd * d)
        c = _nonzero(1 + odd / c)
        value *= d * c
        if abs(d * c - 1) < _PRECISE:
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
