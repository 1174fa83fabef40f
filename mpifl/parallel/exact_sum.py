"""A weighted sum of vectors whose bits do not depend on the order, the grouping or the machine that
adds.

Floating-point addition is not associative, so a float sum over clients would change with the number
of ranks and with the MPI library. Here every weighted reply is rounded to a grid that all ranks
know before the round, and added as int64, which is associative. The grid is 2^-46 of the largest
value sent (at least of 1): weights that sum to 1 leave 17 bits of headroom, and the error stays
below 1e-13 of that value for 16 clients, far under float32's own 6e-8.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

Message = dict[str, Tensor]

FRACTION_BITS = 46
BLOCK = 1 << 18  # elements a pass: the float64 scratch of one block stays in the cache
# Added to |v| < 2^51 this rounds v to the nearest integer, which then stands in the low bits of the
# float64's pattern: the pattern itself is added as int64, and the constant's own pattern is taken
# off once, in `integers`.
_MAGIC = 1.5 * 2.0**52
_MAGIC_BITS = int(torch.tensor(_MAGIC, dtype=torch.float64).view(torch.int64))
_FAST_LIMIT = 2.0**51
_LIMIT = 2.0**62


class Diverged(ArithmeticError):
    """A reply holds NaN, infinity, or a value 2^16 times larger than anything that was sent."""


def grid_exponent(sent: Tensor) -> int:
    """The power of two that is the grid's spacing for replies to `sent`: -46 + ceil(log2(max(1,
    max|sent|))).
    """
    largest = max(1.0, _largest(sent))
    if not math.isfinite(largest):
        raise Diverged("the weights that the server sends are not finite")
    mantissa, exponent = math.frexp(largest)
    return exponent - (mantissa == 0.5) - FRACTION_BITS


class WeightedSum:
    """An accumulator of `weight * reply` over clients: one int64 a value, whatever the number of
    clients.

    `like` names the reply's vectors (shape `[n]` each); `sent` is what all ranks received this
    round and fixes the grid: a reply vector's grid is that of the sent vector of the same name,
    else the coarsest of them.
    """

    def __init__(self, like: Message, sent: Message) -> None:
        exponents = {name: grid_exponent(vector) for name, vector in sent.items()}
        coarsest = max(exponents.values(), default=-FRACTION_BITS)
        device = next(iter(like.values())).device
        self._total = torch.zeros(
            sum(v.numel() for v in like.values()), dtype=torch.int64, device=device
        )
        self._scratch = torch.empty(
            min(BLOCK, self._total.numel()), dtype=torch.float64, device=device
        )
        self._parts = {}
        self._owed = dict.fromkeys(like, 0)
        offset = 0
        for name, vector in like.items():
            part = self._total[offset : offset + vector.numel()]
            self._parts[name] = (part, exponents.get(name, coarsest), vector.dtype)
            offset += vector.numel()

    def add(self, reply: Message, weight: float) -> None:
        """Add `weight * reply`; raises Diverged (and adds nothing) when a value leaves the grid's
        range.
        """
        scaled = {
            name: (vector, float(weight) * 2.0 ** -self._parts[name][1])
            for name, vector in reply.items()
        }
        reach = {name: _largest(vector) * scale for name, (vector, scale) in scaled.items()}
        if not all(value < _LIMIT for value in reach.values()):  # a NaN fails here too
            raise Diverged("its reply is not finite, or out of proportion to what was sent")
        for name, (vector, scale) in scaled.items():
            fast = reach[name] < _FAST_LIMIT
            self._owed[name] += fast
            for values, sums in zip(
                vector.split(BLOCK), self._parts[name][0].split(BLOCK), strict=True
            ):
                scratch = self._scratch[: values.numel()]
                scratch.copy_(values)
                scratch.mul_(scale)
                _accumulate(
                    sums,
                    scratch.add_(_MAGIC).view(torch.int64)
                    if fast
                    else scratch.round_().to(torch.int64),
                )

    def integers(self) -> Tensor:
        """The sum in grid units: int64 `[n]`, all vectors one after the other; what ranks add up."""
        for name, (part, _, _) in self._parts.items():
            owed = self._owed[name] * _MAGIC_BITS
            part.sub_((owed + 2**63) % 2**64 - 2**63)
            self._owed[name] = 0
        return self._total

    def values(self, integers: Tensor) -> Message:
        """`integers`, one rank's or the sum of several, as vectors `[n]` of the replies' types."""
        result, offset = {}, 0
        for name, (part, exponent, dtype) in self._parts.items():
            piece = integers[offset : offset + part.numel()]
            result[name] = (piece.double() * 2.0**exponent).to(dtype)
            offset += part.numel()
        return result


def _accumulate(sums: Tensor, integers: Tensor) -> None:
    # torch multiplies int64 by its `alpha` first, which takes three times as long
    if sums.device.type == "cpu":
        np.add(sums.numpy(), integers.numpy(), out=sums.numpy())
    else:
        sums.add_(integers)


def _largest(vector: Tensor) -> float:
    if vector.numel() == 0:
        return 0.0
    low, high = vector.aminmax()
    return float(torch.maximum(-low, high))
