"""Whether clients move in one direction: the mean cosine of their updates."""

from __future__ import annotations

import numpy as np


def agreement(cosine: np.ndarray) -> np.ndarray:
    """The mean cosine over pairs of different clients; NaN where there is no pair.

    [R] of `cosine` [R, k, k], or [R, L] of [R, k, k, L].
    """
    different = ~np.eye(cosine.shape[1], dtype=bool)
    values = cosine[:, different]
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(1)
    mean = np.full(total.shape, np.nan)
    return np.divide(total, known.sum(1), out=mean, where=known.any(1))
