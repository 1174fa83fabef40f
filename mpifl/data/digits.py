"""Scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels, installed with it, learnt
in seconds.

They are the test part of E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits (UCI,
1998).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mpifl.data.dataset import Dataset, Split, assemble, stratified
from mpifl.options import BadInput
from mpifl.seeds import generator


def load(
    root: Path | None = None, download: bool = False, *, held_out: float = 0.2, seed: int = 0
) -> Dataset:
    """The digits, 0..16 scaled to 0..255; a stratified share `held_out`, drawn with `seed`, is the
    test split.
    """
    if not 0 < held_out < 1:
        raise BadInput(f"data.digits: expected 0 < held_out < 1; got {held_out}")
    rows = np.loadtxt(_file(), delimiter=",", dtype=np.uint8)
    images = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    every = Split(images, rows[:, -1].astype(np.int64))
    chosen = stratified(
        every.labels, round(held_out * len(every)), generator(seed, "held-out digits")
    )
    rest = np.setdiff1d(np.arange(len(every)), chosen)
    source = f"scikit-learn's digits, {held_out:g} held out with seed {seed}"
    return assemble(
        "digits", every.take(rest), every.take(chosen), [str(digit) for digit in range(10)], source
    )


def _file() -> Path:
    """64 pixels and a label a row. Found without importing scikit-learn, which takes longer than
    importing torch.
    """
    found = find_spec("sklearn")
    if not found:
        raise BadInput(
            "data.digits: expected scikit-learn, where these images are; got no such module; `pip install mpifl[demo]`"
        )
    return Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
