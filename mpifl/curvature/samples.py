"""The data of an objective: fixed samples in fixed batches, or, as FedAlign's code has it, fresh
ones for each product.

Anything that can be iterated again and again, and gives `(x, y)` batches, will do as data.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mpifl.data.batches import Augmentation, Samples
from mpifl.seeds import generator


class Fixed:
    """The samples at `indices` in their order, without augmentation, in batches of at most `batch`.

    Of several `shares` this is number `share`: a contiguous part, so that the shares differ by one
    sample at most.
    """

    def __init__(
        self, samples: Samples, indices: np.ndarray, batch: int, share: int = 0, shares: int = 1
    ) -> None:
        self.samples = samples
        self.indices = np.array_split(np.asarray(indices, np.int64), shares)[share]
        self.batch = batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.indices), self.batch):
            chosen = torch.from_numpy(self.indices[start : start + self.batch]).to(
                self.samples.labels.device
            )
            yield self.samples.pick(chosen), self.samples.labels[chosen]


class Fresh:
    """Other samples at each pass: `batches` of `batch`, shuffled anew and augmented; the same on
    every share.

    Pass number p is drawn from the stream (seed, purpose, p). Of several shares each gets every
    `shares`-th batch.
    """

    def __init__(
        self,
        samples: Samples,
        indices: np.ndarray,
        batch: int,
        batches: int,
        augmentation: Augmentation,
        seed: int,
        purpose: str,
        share: int = 0,
        shares: int = 1,
    ) -> None:
        self.samples, self.indices, self.batch, self.batches = (
            samples,
            np.asarray(indices, np.int64),
            batch,
            batches,
        )
        self.augmentation, self.seed, self.purpose = augmentation, seed, purpose
        self.share, self.shares = share, shares
        self.passes = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        random = generator(self.seed, self.purpose, self.passes)
        self.passes += 1
        order = random.permutation(self.indices)[: self.batch * self.batches]
        draws = self.augmentation.draw(len(order), random)
        device = self.samples.labels.device
        for start in range(self.share * self.batch, len(order), self.shares * self.batch):
            chosen = torch.from_numpy(order[start : start + self.batch]).to(device)
            rows = (
                None
                if draws is None
                else torch.from_numpy(draws[start : start + self.batch]).to(device)
            )
            yield self.samples.pick(chosen, self.augmentation, rows), self.samples.labels[chosen]
