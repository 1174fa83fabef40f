"""A method minus a baseline over paired runs: mean, interval, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpifl.analysis.runs import statistics

SIGNIFICANT = 0.05
"""of p, adjusted for the number of methods"""


@dataclass(frozen=True)
class Difference:
    """Method minus baseline, in the column's unit; NaN for what the pairs do not tell."""

    mean: float
    half_width: float
    """of the 95 % confidence interval; NaN for one pair"""
    pairs: int
    """seeds of which both runs have the number"""
    p: float
    """of the paired t test; NaN for one pair, and where all differences are equal"""
    p_sign_flip: float
    """exact, by all flips of signs"""
    unpaired_half_width: float
    """Welch's, had the runs not been paired"""
    seeds_to_tell: int
    """about how many pairs would leave 0 out of the interval; 0: not known"""
    p_holm: float = math.nan
    """p adjusted over the methods of the column"""

    @property
    def is_told(self) -> bool:
        """Whether the interval leaves 0 out."""
        return abs(self.mean) > self.half_width

    @property
    def has_star(self) -> bool:
        """Whether it is significant, of enough pairs."""
        return self.pairs >= statistics.ENOUGH and self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class PairedRow:
    """A method beside the baseline."""

    label: str
    seeds: tuple[int, ...]
    """those that the baseline has too"""
    differences: Mapping[str, Difference]


def difference(ours: np.ndarray, theirs: np.ndarray) -> Difference | None:
    """Of values (n) of paired runs, NaN where a run has none; None where no pair has both."""
    has_both = np.isfinite(ours) & np.isfinite(theirs)
    if not has_both.any():
        return None
    ours = ours[has_both]
    theirs = theirs[has_both]
    differences = ours - theirs
    return Difference(
        mean=float(differences.mean()),
        half_width=statistics.half_width(differences),
        pairs=len(differences),
        p=statistics.paired_p(differences),
        p_sign_flip=statistics.sign_flip_p(differences),
        unpaired_half_width=statistics.welch_half_width(ours, theirs),
        seeds_to_tell=statistics.seeds_to_tell(differences),
    )


def adjusted(rows: Sequence[PairedRow], keys: Sequence[str]) -> list[PairedRow]:
    """The rows with the p of each column adjusted over its methods, by Holm's steps."""
    made = [dict(row.differences) for row in rows]
    for key in keys:
        having = [found for found in made if key in found]
        steps = statistics.holm([found[key].p for found in having])
        for found, p in zip(having, steps, strict=True):
            found[key] = replace(found[key], p_holm=p)
    return [replace(row, differences=found) for row, found in zip(rows, made, strict=True)]
