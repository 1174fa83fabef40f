"""A client's batches, selected by index from the one copy of the data.

They are cropped, flipped and normalised on the device. All random draws come from the client's own
streams and are made on the host. So a batch does not depend on the device, on the rank, or on other
clients. Images stay uint8 until a batch needs them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpifl.data.augmentation import Augmentation

# samples prepared at once: few kernel calls, and a chunk of CIFAR images takes only 12 MB
CHUNK = 1024

_CACHE_LINE = 64  # bytes
_CUDNN_ALIGNMENT = 16  # bytes

Batch = tuple[Tensor, Tensor]
"""images [B, c, h, w] and labels [B]"""


class Samples:
    """The images and labels of one split on one device; `pick` makes normalised float batches.

    `mean` and `std` are those of each channel of the training images / 255. A channel whose std is
    0, the same value in all training images, is only centred: there it becomes 0.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.images = torch.from_numpy(images).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self._mean = torch.tensor(mean, device=device, dtype=dtype).view(1, -1, 1, 1)
        divisors = []
        for deviation in std:
            divisors.append(1.0 if deviation == 0 else deviation)
        self._std = torch.tensor(divisors, device=device, dtype=dtype).view(1, -1, 1, 1)
        self._dtype = dtype

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[2], self.images.shape[3]

    def batch(self, indices: Tensor, device: torch.device) -> Batch:
        """The samples at `indices` on `device`, where they are normalised: the bits are those of
        samples that are kept there.
        """
        return self._normalised(self.images[indices].to(device)), self.labels[indices].to(device)

    def pick(
        self, indices: Tensor, augmentation: Augmentation | None = None, draws: Tensor | None = None
    ) -> Tensor:
        """Normalised images `[n, c, h, w]` of the samples at `indices`.

        With `draws` of an `augmentation`, they are augmented first.
        """
        images = self.images[indices]
        if augmentation is None or draws is None:
            return self._normalised(images)
        if augmentation.pads_after_normalising:
            images = augmentation.apply(self._normalised(images), draws)
            return images.clone(memory_format=torch.contiguous_format)
        return self._normalised(augmentation.apply(images, draws))

    def taken(self, indices: np.ndarray, device: torch.device) -> Samples:
        """The samples at `indices` (int64) alone, on `device`."""
        chosen = torch.from_numpy(indices).to(self.labels.device)
        few = copy.copy(self)
        few.images = self.images[chosen].to(device)
        few.labels = self.labels[chosen].to(device)
        few._mean = self._mean.to(device)
        few._std = self._std.to(device)
        return few

    def _normalised(self, images: Tensor) -> Tensor:
        # The format is named because strides of one-channel images are ambiguous, and convolutions
        # choose by strides a kernel that rounds differently.
        images = images.to(self._dtype, memory_format=torch.contiguous_format)
        mean = self._mean.to(images.device)
        std = self._std.to(images.device)
        return images.div_(255).sub_(mean).div_(std)


Minibatches = Iterable[Batch]
"""images and labels of one batch after the other"""


class Order(NamedTuple):
    """Which samples a client's batches have."""

    indices: np.ndarray
    """int64: of the samples, one batch after the other"""
    lengths: list[int]
    """of the batches"""
    draws: np.ndarray | None
    """int64 [len(indices), ...]: of the augmentation; None without one"""


def deal(samples: Samples, order: Order, augmentation: Augmentation) -> Iterator[Batch]:
    """The batches `(x, y)` of an order, prepared in parts of bounded size."""
    device = samples.labels.device
    indices = torch.from_numpy(order.indices).to(device)
    rows = None if order.draws is None else torch.from_numpy(order.draws).to(device)
    begin = 0  # of the batch, in `order`
    chunk = range(0)  # the part of `order` that is prepared
    for length in order.lengths:
        end = begin + length
        if end > chunk.stop:
            chunk = range(begin, min(len(indices), max(end, begin + CHUNK)))
            chosen = indices[chunk.start : chunk.stop]
            own_rows = None if rows is None else rows[chunk.start : chunk.stop]
            x = samples.pick(chosen, augmentation, own_rows)
            y = samples.labels[chosen]
        batch = slice(begin - chunk.start, end - chunk.start)
        yield _as_by_itself(x[batch]), y[batch]
        begin = end


def _as_by_itself(images: Tensor) -> Tensor:
    """A part of a larger tensor, at an address such as one of its own has: cuDNN chooses kernels by
    it, which may round differently. On a CPU the part itself.
    """
    if images.device.type == "cuda" and images.data_ptr() % _CUDNN_ALIGNMENT:
        return images.clone()
    return images


class DealtTogether:
    """The batches of several orders, whose samples are picked at once when the first is asked for.

    They are the bits that `deal` gives, at addresses like those: matrix products may round
    differently for numbers that begin elsewhere in a cache line.
    """

    def __init__(self, samples: Samples, augmentation: Augmentation) -> None:
        self._samples = samples
        self._augmentation = augmentation
        self._orders: list[Order] = []
        self._picked: list[Batch] = []
        """of each order, all samples"""
        self.size = 0
        """samples in all orders"""

    def add(self, order: Order) -> Callable[[], Minibatches]:
        """Take another order; the function gives its batches."""
        self._orders.append(order)
        self.size += len(order.indices)
        return partial(self._batches, len(self._orders) - 1)

    def _batches(self, number: int) -> Minibatches:
        if len(self._orders) == 1:  # which may be long: it is picked in parts
            return deal(self._samples, self._orders[0], self._augmentation)
        if not self._picked:
            self._pick()
        x, y = self._picked[number]
        if x.data_ptr() % _CACHE_LINE:
            x = x.clone()
        lengths = self._orders[number].lengths
        if len(lengths) == 1:
            return [(x, y)]
        parts = map(_as_by_itself, x.split(lengths))
        return zip(parts, y.split(lengths), strict=True)

    def _pick(self) -> None:
        lengths = [len(order.indices) for order in self._orders]
        draws = [order.draws for order in self._orders if order.draws is not None]
        together = Order(
            np.concatenate([order.indices for order in self._orders]),
            [self.size],
            np.concatenate(draws) if draws else None,
        )
        for x, y in deal(self._samples, together, self._augmentation):
            self._picked = list(zip(x.split(lengths), y.split(lengths), strict=True))


def sequence(
    own: np.ndarray,
    batch: int,
    epochs: int,
    steps: int | None,
    drop_last: bool,
    random: np.random.Generator,
) -> tuple[np.ndarray, list[int]]:
    """The order in which a client uses its samples `own`, and the lengths of its batches.

    There are `epochs` passes, or with `steps` as many passes as that number of batches needs. Each
    pass is shuffled anew. `drop_last` leaves out a short last batch of a pass, unless it is the
    only batch: a client with fewer samples than a batch still takes steps.
    """
    full, rest = divmod(len(own), batch)
    lengths = [batch] * full
    if rest and not (drop_last and full):
        lengths.append(rest)
    passes = epochs if steps is None else math.ceil(steps / len(lengths))
    used = sum(lengths)
    if passes == 1:
        order = random.permutation(own)[:used]
    else:
        order = np.concatenate([random.permutation(own)[:used] for _ in range(passes)])
    lengths = (lengths * passes)[:steps]
    return order[: sum(lengths)], lengths
