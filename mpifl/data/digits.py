"""Scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels, installed with it, learnt in seconds.

They are the test part of E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits (UCI, 1998).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpifl.data.dataset import Dataset, Split, assemble, stratified
from mpifl.seeds import generator
from mpifl.settings import BadInput


def load(root: Path | None = None, download: bool = False, *, held_out: float = 0.2, seed: int = 0) -> Dataset:
    """The digits, 0..16 scaled to 0..255; a stratified share `held_out`, drawn with `seed`, is the test split."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise BadInput(
            "data.digits: expected scikit-learn, where these images are; got no such module; `pip install mpifl[demo]`"
        ) from error
    if not 0 < held_out < 1:
        raise BadInput(f"data.digits: expected 0 < held_out < 1; got {held_out}")
    raw = load_digits()
    images = np.rint(raw.images * (255 / 16)).astype(np.uint8)[:, None]
    every = Split(images, raw.target.astype(np.int64))
    chosen = stratified(every.labels, round(held_out * len(every)), generator(seed, "held-out digits"))
    rest = np.setdiff1d(np.arange(len(every)), chosen)
    source = f"scikit-learn's digits, {held_out:g} held out with seed {seed}"
    return assemble("digits", every.take(rest), every.take(chosen), [str(digit) for digit in range(10)], source)
