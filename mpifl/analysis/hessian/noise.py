"""Quantities with a range, such as cosines, when noise drives their estimate out of it."""

from __future__ import annotations

import math

_USEFUL_ERROR = 0.1
"""a standard error at which a cosine between -1 and 1 says something"""
_LARGEST_ERROR = 0.25
"""above it, it says nothing"""


def cosine_in_words(value: float, error: float, probes: int | None = None) -> str:
    """A cosine with its standard error, or that it is lost in noise. `probes`: how many were used.

    >>> cosine_in_words(0.8751, 0.012, 40)
    '0.8751 ± 0.012'
    >>> cosine_in_words(1.19, 0.87, 40)
    'lost in noise, needs about 3,100 probes'
    >>> cosine_in_words(1.004, 0.012, 40)
    '1.0040 ± 0.012 (out of its range by noise)'
    """
    if is_lost(value, error):
        return lost_in_words(probes_needed(error, probes))
    text = f"{value:.4f}" if math.isnan(error) else f"{value:.4f} ± {error:.2g}"
    return f"{text} (out of its range by noise)" if abs(value) > 1 else text


def is_lost(value: float, error: float) -> bool:
    """Whether a cosine's error hides it."""
    return error > _LARGEST_ERROR or abs(value) > 1 + 2 * (0 if math.isnan(error) else error)


def probes_needed(error: float, probes: int | None) -> int | None:
    """About how many probes give a useful error: it falls with their square root.

    None where it is not known how many gave `error`.
    """
    if probes is None or not math.isfinite(error):
        return None
    return two_digits(probes * max(1.0, error / _USEFUL_ERROR) ** 2)


def two_digits(number: float) -> int:
    """Rounded up to two digits.

    >>> two_digits(3027.6), two_digits(12.0)
    (3100, 12)
    """
    unit = 10 ** max(0, math.floor(math.log10(max(number, 1.0))) - 1)
    return math.ceil(number / unit) * unit


def lost_in_words(probes: int | None) -> str:
    """What is printed instead of a number."""
    if probes is None:
        return "lost in noise, needs more probes (--probes)"
    return f"lost in noise, needs about {probes:,} probes"
