"""A weighted sum of vectors whose bits do not depend on the order, grouping or machine.

Floating-point addition is not associative, so a float sum over clients would change with the number
of ranks and with the MPI library. Here every weighted reply is rounded to a grid that all ranks
know before the round, and added as int64, which is associative. The grid is 2^-46 of the largest
value sent (at least of 1): weights that sum to 1 leave 17 bits of headroom, and the error stays
below 1e-13 of that value for 16 clients, far under float32's own 6e-8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Message = dict[str, Tensor]

FRACTION_BITS = 46
BLOCK = 1 << 18  # elements a pass: the float64 scratch of one block stays in the cache
BLOCK_READ = 1 << 17  # elements of a sum that become floats at once: a megabyte, from the cache
_BLOCK_ON_GPU = 1 << 24  # 128 MiB of scratch: calls cost more there than memory
# A fast way from float64 v, |v| < 2^51, to the nearest integer:
# 1. v + _MAGIC is rounded to an integer, because float64 has no finer bits there.
# 2. The low bits of that float64's pattern are the integer, so patterns are added as int64.
# 3. Each addition also adds the pattern of _MAGIC; they are subtracted once: by a sum that begins
#    below zero, for the replies that are expected, and by `values` if those were not all.
_MAGIC = 1.5 * 2.0**52
_MAGIC_BITS = int(torch.tensor(_MAGIC, dtype=torch.float64).view(torch.int64))
_FAST_LIMIT = 2.0**51
_LIMIT = 2.0**62


class Diverged(ArithmeticError):
    """A reply holds NaN, infinity, or a value 2^16 times larger than anything that was sent."""


def grid_exponent(sent: Tensor) -> int:
    """The exponent of the grid for replies to `sent`: -46 + ceil(log2(max(1, max|sent|))).

    The grid's spacing is 2 to that power.
    """
    largest = max(1.0, _largest(sent))
    if not math.isfinite(largest):
        raise Diverged("the weights that the server sends are not finite")
    mantissa, exponent = math.frexp(largest)
    return exponent - (mantissa == 0.5) - FRACTION_BITS


Layout = dict[str, tuple[int, torch.dtype]]
"""of a reply: how many elements of which type, by the name of a vector"""


class _Part(NamedTuple):
    """One vector of the sum."""

    total: Tensor
    """int64 [n], a view of the whole"""
    exponent: int
    """of the power of two that is the grid's spacing"""
    dtype: torch.dtype
    """of the replies"""


class WeightedSum:
    """The sum of `weight * reply` over clients: one int64 a value, for any number of clients.

    `sent` is what all ranks received this round. It fixes the grid: a reply vector's grid is that
    of the sent vector of the same name, else the coarsest of them. The `layout` of replies is that
    of the first one added, unless it is given. Raises Diverged where `sent` is not finite.
    """

    def __init__(self, sent: Message, layout: Layout | None = None) -> None:
        self._device = next(iter(sent.values())).device
        self._block = BLOCK if self._device.type == "cpu" else _BLOCK_ON_GPU
        self._total = torch.zeros(0, dtype=torch.int64, device=self._device)
        self._scratch = torch.empty(0, dtype=torch.float64, device=self._device)
        self._host = torch.zeros(0, dtype=torch.int64)
        """where the sum is read"""
        self._parts: dict[str, _Part] = {}
        self._owed: dict[str, int] = {}
        self._expected = 0
        self.layout: Layout | None = None
        self.begin(sent)
        if layout is not None:
            self.lay_out(layout)

    def begin(self, sent: Message, expected: int = 0) -> None:
        """Begin another sum, of replies to `sent`, in the memory of the last one.

        One rank may say how many replies are expected on all ranks: where as many are added,
        `values` is quicker. Raises Diverged where `sent` is not finite.
        """
        self._expected = expected
        self._exponents = {name: grid_exponent(vector) for name, vector in sent.items()}
        self._coarsest = max(self._exponents.values(), default=-FRACTION_BITS)
        if self.layout is not None:
            self._set_parts(self.layout)

    def lay_out(self, layout: Layout) -> None:
        """Make room for replies of this layout; nothing may have been added before."""
        size = sum(elements for elements, _ in layout.values())
        self.layout = layout
        self._total = torch.empty(size, dtype=torch.int64, device=self._device)
        self._host = self._total
        if self._device.type != "cpu":  # to memory that is not pinned, a GPU copies more slowly
            is_pinned = self._device.type == "cuda"
            self._host = torch.empty(size, dtype=torch.int64, pin_memory=is_pinned)
        scratch = min(self._block, max(BLOCK, size))
        self._scratch = torch.empty(scratch, dtype=torch.float64, device=self._device)
        self._set_parts(layout)

    def _set_parts(self, layout: Layout) -> None:
        self._total.fill_(_wrapped(-self._expected * _MAGIC_BITS))
        offset = 0
        for name, (elements, dtype) in layout.items():
            total = self._total[offset : offset + elements]
            exponent = self._exponents.get(name, self._coarsest)
            self._parts[name] = _Part(total, exponent, dtype)
            self._owed[name] = -self._expected
            offset += elements

    @staticmethod
    def at_once(elements: int) -> int:
        """How many replies of so many elements `add_each` should be given at a time: several small
        ones, whose scratch stays in the cache.
        """
        return max(1, BLOCK // max(1, elements))

    def add(self, reply: Message, weight: float) -> None:
        """Add `weight * reply`.

        Raises Diverged, and adds nothing, where a value is not finite or leaves the grid's range.
        """
        if not self.add_each([reply], [weight]).all():
            raise Diverged("its reply is not finite, or out of proportion to what was sent")

    def add_each(
        self, replies: Sequence[Message], weights: Sequence[float] | np.ndarray
    ) -> np.ndarray:
        """Add `weight * reply` of each of some replies, which have the same names and sizes.

        Returns which of them were added, bool [replies]: nothing is added of those that have a
        value that is not finite or leaves the grid's range.
        """
        if self.layout is None:
            self.lay_out(layout_of(replies[0]))
        of_replies = np.array(weights, dtype=np.float64)
        stacked = {name: _stacked([reply[name] for reply in replies]) for name in replies[0]}
        scales = {}
        largest = {}
        for name, vectors in stacked.items():
            scales[name] = of_replies * 2.0 ** -self._parts[name].exponent
            largest[name] = _largest_of_each(vectors) * scales[name]
        fits = np.all([values < _LIMIT for values in largest.values()], axis=0)  # a NaN does not
        for name, vectors in stacked.items():
            is_fast = fits & (largest[name] < _FAST_LIMIT)
            if is_fast.all():
                self._add_fast(name, vectors, scales[name])
                continue
            for place in np.flatnonzero(fits):
                own = slice(place, place + 1)
                if is_fast[place]:
                    self._add_fast(name, vectors[own], scales[name][own])
                else:
                    self._add_slow(name, vectors[place], float(scales[name][place]))
        return fits

    def _add_fast(self, name: str, vectors: Tensor, scales: np.ndarray) -> None:
        """Add `vectors [k, n]`, whose values on the grid are below _FAST_LIMIT."""
        self._owed[name] += len(vectors)
        factors = torch.from_numpy(scales).to(self._device)[:, None]
        columns = max(1, len(self._scratch) // len(vectors))
        blocks = zip(
            vectors.split(columns, dim=1), self._parts[name].total.split(columns), strict=True
        )
        for values, sums in blocks:
            scratch = self._scratch[: values.numel()].view(values.shape)
            scratch.copy_(values)
            scratch.mul_(factors).add_(_MAGIC)
            _accumulate(sums, scratch.view(torch.int64))

    def _add_slow(self, name: str, vector: Tensor, scale: float) -> None:
        blocks = zip(
            vector.split(self._block), self._parts[name].total.split(self._block), strict=True
        )
        for values, sums in blocks:
            _accumulate(sums, (values.double() * scale).round_().to(torch.int64)[None])

    def integers(self) -> tuple[Tensor, np.ndarray]:
        """What ranks add, on the host: the sum in grid units, int64 `[n]`, all vectors one after
        the other, and int64 [vectors]: how often _MAGIC was added to each, beyond what was
        expected. The next call may return the same memory.
        """
        if self._host is not self._total:
            self._host.copy_(self._total)
        return self._host, np.array(list(self._owed.values()), dtype=np.int64)

    def total(self) -> Message:
        """The sum of this rank's replies alone."""
        integers, owed = self.integers()
        return self.values(integers, owed)

    def blocks(self, integers: Tensor, length: int) -> Iterator[Tensor]:
        """`integers()` in views of at most `length` elements, each of one vector.

        All ranks have as many, of the same sizes.
        """
        for vector in integers.split([part.total.numel() for part in self._parts.values()]):
            yield from vector.split(length)

    def values(
        self,
        integers: Tensor,
        owed: np.ndarray,
        receive: Callable[[Tensor], None] = lambda block: None,
        length: int = BLOCK_READ,
    ) -> Message:
        """`integers()`, one rank's or the sums of several, as vectors `[n]` of the replies' types.

        Both are on the host. `receive` is called with each of `blocks(integers, length)` before it
        is read.
        """
        result = {}
        blocks = self.blocks(integers, length)
        for (name, part), count in zip(self._parts.items(), owed.tolist(), strict=True):
            result[name] = torch.empty(part.total.numel(), dtype=part.dtype)
            for values in result[name].split(length):
                block = next(blocks)
                receive(block)
                _read(block, _wrapped(count * _MAGIC_BITS), 2.0**part.exponent, values)
        return result


def _read(integers: Tensor, debt: int, spacing: float, values: Tensor) -> None:
    """Fill `values [n]` with `(integers - debt) * spacing`."""
    blocks = zip(integers.split(BLOCK_READ), values.split(BLOCK_READ), strict=True)
    for block, of_block in blocks:
        if debt != 0:
            block = block - debt
        of_block.copy_(block.double().mul_(spacing))


def _wrapped(number: int) -> int:
    """An integer as int64 has it, where sums overflow to the other end."""
    return (number + 2**63) % 2**64 - 2**63


def layout_of(reply: Message) -> Layout:
    """The layout of a reply."""
    return {name: (vector.numel(), vector.dtype) for name, vector in reply.items()}


def _accumulate(sums: Tensor, integers: Tensor) -> None:
    """Add each row of `integers [k, n]` to `sums [n]`."""
    if sums.device.type != "cpu":
        sums.add_(integers.sum(0))
        return
    row = integers[0] if len(integers) == 1 else integers.sum(0)
    # torch multiplies int64 by its `alpha` first, which takes three times as long
    np.add(sums.numpy(), row.numpy(), out=sums.numpy())


def _stacked(vectors: Sequence[Tensor]) -> Tensor:
    """Vectors [n] as rows [k, n]; a single one is not copied."""
    return vectors[0][None] if len(vectors) == 1 else torch.stack(list(vectors))


def _largest(vector: Tensor) -> float:
    return float(_largest_of_each(vector[None])[0])


def _largest_of_each(vectors: Tensor) -> np.ndarray:
    """float64 [k]: the largest size of a value in each of `vectors [k, n]`, NaN if one is NaN."""
    if vectors.shape[1] == 0:
        return np.zeros(len(vectors))
    if len(vectors) == 1:
        low, high = vectors[0].aminmax()
    else:  # aminmax of rows takes twenty times as long
        low, high = vectors.amin(1), vectors.amax(1)
    return torch.maximum(-low, high).double().cpu().numpy().reshape(-1)
