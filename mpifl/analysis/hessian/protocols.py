"""How curvature is measured: by definition (exact), or as FedAlign's released code does it.

| | exact | fedalign |
|---|---|---|
| samples | fixed, without augmentation | other batches for each product, augmented |
| eigenvalues | Lanczos, with residuals | power iteration, stopped by its last change |
| trace | deflated probes, with standard errors | Hutchinson, stopped by its last change |
| a diagonal | each element | one trace a tensor |
| pairs of clients | different ones | also a client with itself |

Both look at the model in evaluation mode.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np

from mpifl.curvature import Fixed, Fresh
from mpifl.data.augmentation import Augmentation
from mpifl.data.batches import Samples
from mpifl.data.dataset import stratified
from mpifl.options import Count, Fraction, NonNegativeInt, Positive, options
from mpifl.seeds import generator


@options
class Exact:
    """The Hessian of the mean cross-entropy over chosen samples."""

    name: ClassVar[str] = "exact"

    seed: NonNegativeInt = 0
    """of the choice of samples, and of all probes"""
    samples: NonNegativeInt = 1000
    """how many, a class-stratified choice; 0: all"""
    split: Literal["train", "test"] = "train"
    data: Literal["own", "global"] = "own"
    """samples for a client's model: its own, or all clients'; the global model always sees all"""
    batch: Count = 100
    """samples a batch: more take more memory; results do not depend on it"""
    top: Count = 10
    """how many of the largest eigenvalues"""
    tolerance: Positive = 1e-3
    """likely relative error of the eigenvalues"""
    trace_tolerance: Positive = 0.05
    """relative: two standard errors of the trace and of the diagonal's norm"""
    probes: Count = 100
    """at most, for the trace and the diagonal"""
    starts: Count = 6
    """of the spectral density, at most"""
    density_tolerance: Positive = 0.05
    """area under the standard error of the spectral density"""
    steps: Count = 40
    """products of each start"""
    rho: Positive = 0.05
    """radius of the sharpness"""

    def sample_indices(
        self, labels: np.ndarray, own: np.ndarray | None, where: tuple[int, ...]
    ) -> np.ndarray:
        """Indices of the samples to measure on, ascending.

        They are chosen from all `labels` [n], or for a client's model from its `own` indices.

        `where` makes the choice differ between clients that have different samples.
        """
        if own is None or self.data == "global":
            pool = np.arange(len(labels))
        else:
            pool = np.sort(own)
        if not self.samples or self.samples >= len(pool):
            return pool
        # Models with the same pool see the same samples: they differ only in their weights.
        stream = where if len(pool) < len(labels) else ()
        random = generator(self.seed, "curvature samples", *stream)
        return pool[stratified(labels[pool], self.samples, random)]

    def data_source(
        self, samples: Samples, indices: np.ndarray, share: int, shares: int, **unused: Any
    ) -> Fixed:
        """Share number `share` of the samples."""
        return Fixed(samples, indices, self.batch, share, shares)


@options
class FedAlign:
    """As the released code of FedAlign (Mendieta et al. 2022)."""

    name: ClassVar[str] = "fedalign"
    split: ClassVar[str] = "train"
    data: ClassVar[str] = "global"

    seed: NonNegativeInt = 0
    batch: Count = 64
    batches: Count = 10
    """drawn for each product, from all training samples"""
    tolerance: Fraction = 1e-3
    """relative change at which it stops"""
    most: Count = 100
    """products at most, for the eigenvalue and for the trace each"""

    def sample_indices(
        self, labels: np.ndarray, own: np.ndarray | None, where: tuple[int, ...]
    ) -> np.ndarray:
        """All samples: each product draws its own batches from them."""
        return np.arange(len(labels))

    def data_source(
        self,
        samples: Samples,
        indices: np.ndarray,
        share: int,
        shares: int,
        augmentation: Augmentation,
        purpose: str,
    ) -> Fresh:
        """Share number `share` of the batches, which are drawn from the random stream `purpose`."""
        return Fresh(
            samples,
            indices,
            self.batch,
            self.batches,
            augmentation,
            self.seed,
            f"curvature batches, {purpose}",
            share,
            shares,
        )


Protocol = Exact | FedAlign
PROTOCOLS: dict[str, type[Protocol]] = {"exact": Exact, "fedalign": FedAlign}


def facts(protocol: Protocol, data_checksum: str) -> dict[str, Any]:
    """The attributes of a measurement."""
    about = {
        "protocol": protocol.name,
        "split": protocol.split,
        "data": protocol.data,
        "data_checksum": data_checksum,
    }
    return {**about, **asdict(protocol)}
