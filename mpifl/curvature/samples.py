"""The data of an objective: fixed batches, or other ones for each product (as FedAlign's code).

Any object that can be iterated repeatedly and gives `(x, y)` batches can be the data.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mpifl.data.augmentation import Augmentation
from mpifl.data.batches import Samples
from mpifl.seeds import generator


class Fixed:
    """The samples at `indices` in their order, without augmentation, in batches of at most `batch`.

    Of several `shares` this is number `share`, a contiguous part. The sizes of the shares differ by
    at most one sample.
    """

    def __init__(
        self, samples: Samples, indices: np.ndarray, batch: int, share: int = 0, shares: int = 1
    ) -> None:
        self.samples = samples
        self.indices = np.array_split(np.asarray(indices, np.int64), shares)[share]
        self.batch = batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.indices), self.batch):
            indices = self.indices[start : start + self.batch]
            chosen = torch.from_numpy(indices).to(self.samples.labels.device)
            yield self.samples.pick(chosen), self.samples.labels[chosen]


class Fresh:
    """Other samples at each pass: `batches` of `batch`, shuffled and augmented anew.

    The stream (seed, purpose, p) draws pass number p, the same on every share. Each of several
    shares gets every `shares`-th batch.
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
        self.samples = samples
        self.indices = np.asarray(indices, np.int64)
        self.batch = batch
        self.batches = batches
        self.augmentation = augmentation
        self.seed = seed
        self.purpose = purpose
        self.share = share
        self.shares = shares
        self.passes = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        random = generator(self.seed, self.purpose, self.passes)
        self.passes += 1
        order = random.permutation(self.indices)[: self.batch * self.batches]
        draws = self.augmentation.draw(len(order), random, self.samples.size)
        device = self.samples.labels.device
        for start in range(self.share * self.batch, len(order), self.shares * self.batch):
            chosen = torch.from_numpy(order[start : start + self.batch]).to(device)
            rows = None
            if draws is not None:
                rows = torch.from_numpy(draws[start : start + self.batch]).to(device)
            yield self.samples.pick(chosen, self.augmentation, rows), self.samples.labels[chosen]
