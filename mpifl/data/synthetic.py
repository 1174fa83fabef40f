"""Made-up images of any shape with labels that can be learnt, for tests and timings.

An image is the sum of grey, a smooth pattern of its class, a smooth pattern of its own, and noise
in each pixel. Smooth patterns are sums of a few cosines. A domain scales and shifts each channel.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from mpifl.data.dataset import Dataset, Split, assemble, refuse_beyond_memory
from mpifl.options import BadInput
from mpifl.seeds import generator

WAVES = 3  # per axis: the pattern's coefficients are [WAVES, WAVES]


def load(
    root: Path | None = None,
    download: bool = False,
    *,
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    train: int = 2000,
    test: int = 500,
    domains: int = 0,
    noise: float = 32.0,
    seed: int = 0,
) -> Dataset:
    """`train` and `test` images of `shape` (channels, height, width), the same for the same seed.

    All classes are equally frequent.

    `noise` is the standard deviation of a pixel, in grey levels; that of a class's pattern is 24.
    """
    counts_fit = len(shape) == 3 and min(classes, train, test, *shape) >= 1 and domains >= 0
    if not counts_fit or not 0 <= noise <= 1e6:
        raise BadInput(
            "data.synthetic: expected a shape (channels, height, width), counts of 1 or more and "
            f"noise to 1e6; got shape {shape}, classes {classes}, train {train}, test {test}, "
            f"domains {domains}, noise {noise}"
        )
    _refuse_unaffordable(math.prod(shape), classes, train, test, domains)
    random = generator(seed, "synthetic patterns")
    patterns = _smooth(random, classes, shape)
    tints = random.normal((1.0, 0.0), (0.2, 24.0), (domains, shape[0], 2)) if domains else None
    return assemble(
        "synthetic",
        _split(patterns, tints, train, noise, generator(seed, "synthetic train")),
        _split(patterns, tints, test, noise, generator(seed, "synthetic test")),
        [f"class {k}" for k in range(classes)],
        f"synthetic: smooth class patterns, noise {noise:g}, seed {seed}",
        [f"domain {d}" for d in range(domains)],
    )


def _refuse_unaffordable(pixels: int, classes: int, train: int, test: int, domains: int) -> None:
    """Raise BadInput for images that do not fit into this machine's memory."""
    floats = pixels * (classes + min(1024, max(train, test)))
    wanted = (train + test) * (pixels + 16) + 8 * (floats + domains * pixels)
    refuse_beyond_memory("data.synthetic", wanted)


def _split(
    patterns: np.ndarray,
    tints: np.ndarray | None,
    n: int,
    noise: float,
    random: np.random.Generator,
) -> Split:
    """n samples; `patterns` [classes, *shape], `tints` [domains, channels, 2] (gain and shift)."""
    labels = random.permutation(np.arange(n) % len(patterns))
    domains = None if tints is None else random.integers(len(tints), size=n)
    images = np.empty((n, *patterns.shape[1:]), dtype=np.uint8)
    for start in range(0, n, 1024):  # one block of floats at a time
        block = slice(start, start + 1024)
        own = _smooth(random, len(labels[block]), images.shape[1:])
        values = 24 * (patterns[labels[block]] + own)
        values += noise * random.standard_normal(values.shape)
        if tints is not None and domains is not None:
            gain, shift = tints[domains[block]].transpose(2, 0, 1)[..., None, None]
            values = gain * values + shift
        images[block] = np.rint(values + 128).clip(0, 255)
    return Split(images, labels, domains)


def _smooth(random: np.random.Generator, n: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Random sums of low-frequency cosines, float64 [n, *shape]; each image has mean square 1."""
    channels, height, width = shape
    weights = random.standard_normal((n, channels, WAVES, WAVES))
    values = _waves(height) @ weights @ _waves(width).T
    return values / np.sqrt(np.mean(values**2, axis=(1, 2, 3), keepdims=True))


def _waves(length: int) -> np.ndarray:
    return np.cos(np.pi * np.outer((np.arange(length) + 0.5) / length, np.arange(WAVES)))
