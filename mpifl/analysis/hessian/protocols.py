"""How curvature is measured: by definition, or as FedAlign's released code does it, so that numbers
can be compared.

exact: fixed samples in evaluation mode without augmentation; the element-wise diagonal; pairs of
different clients. fedalign: each product sees other batches, augmented as in training; power
iteration and Hutchinson with stopping rules that look at the last change; "diagonals" of one number
a tensor; pairs of a client with itself as well.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np

from mpifl.curvature import Fixed, Fresh
from mpifl.data.batches import Augmentation, Samples
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
    """whose training samples a client's model is measured on; the global model is always measured
    on all clients'
    """
    batch: Count = 100
    """samples a batch: memory grows with it, results do not depend on it"""
    top: Count = 10
    """how many of the largest eigenvalues"""
    tolerance: Positive = 0.03
    """of eigenvalues: their residuals, relative"""
    trace_tolerance: Positive = 0.05
    """of the trace and of the diagonal's norm: two standard errors, relative"""
    probes: Count = 100
    """at most, for the trace and the diagonal"""
    starts: Count = 6
    """at most, of the spectral density"""
    density_tolerance: Positive = 0.05
    """of the spectral density: the area under its standard error"""
    steps: Count = 40
    """of each start"""
    rho: Positive = 0.05
    """radius of the sharpness"""

    def chosen(
        self, labels: np.ndarray, own: np.ndarray | None, where: tuple[int, ...]
    ) -> np.ndarray:
        """Indices of the samples that are looked at, ascending: of all `labels`, or of a client's
        `own` indices.
        """
        pool = np.arange(len(labels)) if own is None or self.data == "global" else np.sort(own)
        if not self.samples or self.samples >= len(pool):
            return pool
        # The same samples for all who share a pool, so that they differ in their weights alone.
        random = generator(
            self.seed, "curvature samples", *(where if len(pool) < len(labels) else ())
        )
        return pool[stratified(labels[pool], self.samples, random)]

    def source(
        self, samples: Samples, indices: np.ndarray, share: int, shares: int, **unused: Any
    ) -> Fixed:
        """The data of this share."""
        return Fixed(samples, indices, self.batch, share, shares)


@options
class FedAlign:
    """What the released code of FedAlign (Mendieta et al. 2022) computes."""

    name: ClassVar[str] = "fedalign"
    split: ClassVar[str] = "train"
    data: ClassVar[str] = "global"

    seed: NonNegativeInt = 0
    batch: Count = 64
    batches: Count = 10
    """drawn anew for each product, from all training samples"""
    tolerance: Fraction = 1e-3
    """of the change that stops"""
    most: Count = 100
    """products for the eigenvalue, and for the trace"""

    def chosen(
        self, labels: np.ndarray, own: np.ndarray | None, where: tuple[int, ...]
    ) -> np.ndarray:
        """All samples: each product draws its own of them."""
        return np.arange(len(labels))

    def source(
        self,
        samples: Samples,
        indices: np.ndarray,
        share: int,
        shares: int,
        augmentation: Augmentation,
        purpose: str,
    ) -> Fresh:
        """The data of this share: its passes are drawn from the stream `purpose`."""
        given = self.batch, self.batches, augmentation, self.seed, f"curvature batches, {purpose}"
        return Fresh(samples, indices, *given, share, shares)


Protocol = Exact | FedAlign
PROTOCOLS: dict[str, type[Protocol]] = {"exact": Exact, "fedalign": FedAlign}


def facts(protocol: Protocol, data_checksum: str) -> dict[str, Any]:
    """What a measurement's attributes say of it."""
    about = {
        "protocol": protocol.name,
        "split": protocol.split,
        "data": protocol.data,
        "data_checksum": data_checksum,
    }
    return {**about, **asdict(protocol)}
