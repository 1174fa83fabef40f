"""Handwritten digits: 1,797 grey images of 8 x 8 pixels, which come with mpifl.

They are the test part of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI
Machine Learning Repository, 1998, doi:10.24432/C50P49, under the licence CC BY 4.0. The values and
their order are those of `optdigits.tes`, and so of `sklearn.datasets.load_digits`. See
`DIGITS-NOTICE.md` beside this file.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from mpifl.data.dataset import Dataset, Split, assemble, stratified
from mpifl.options import BadInput
from mpifl.seeds import generator

FILE = Path(__file__).with_name("digits.csv.gz")
"""a row for each image: 64 pixels of 0 to 16, then the digit"""


def load(
    root: Path | None = None, download: bool = False, *, held_out: float = 0.2, seed: int = 0
) -> Dataset:
    """Load the digits, their pixels scaled from 0..16 to 0..255.

    The test split is a share `held_out` of each class, drawn with `seed`. `root` and `download` are
    not used. Raises BadInput unless 0 < held_out < 1.
    """
    if not 0 < held_out < 1:
        raise BadInput(f"data.digits: expected 0 < held_out < 1; got {held_out}")
    rows = _rows()
    pixels = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8)
    every = Split(pixels.reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int64))
    random = generator(seed, "held-out digits")
    test = stratified(every.labels, round(held_out * len(every)), random)
    train = np.setdiff1d(np.arange(len(every)), test)
    classes = [str(digit) for digit in range(10)]
    # Stored in runs, and compared between them: runs of version 0.1.0 have these words.
    source = f"scikit-learn's digits, {held_out:g} held out with seed {seed}"
    return assemble("digits", every.take(train), every.take(test), classes, source)


@cache
def _rows() -> np.ndarray:
    """The file's rows, [1797, 65], not to be changed: read once for all runs of a process."""
    return np.loadtxt(FILE, delimiter=",", dtype=np.uint8)
