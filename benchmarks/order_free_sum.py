"""The cost of the order-free sum over clients: adding one client's weighted reply as int64, against
an add in float32.
"""

from __future__ import annotations

import torch

from benchmarks.pairs import interleave
from benchmarks.report import Row
from mpifl.parallel.devices import configure
from mpifl.parallel.exact_sum import WeightedSum

SIZES = (600_000, 1_626_442, 11_000_000)


def order_free_sum() -> list[Row]:
    """one client's weighted reply into the order-free int64 sum, against a float32 sum"""
    configure(torch.device("cpu"), 1)
    return [_row(d) for d in SIZES]


def _row(d: int) -> Row:
    random = torch.Generator().manual_seed(0)
    reply = {"w": torch.randn(d, generator=random)}
    ours, other = WeightedSum(reply), torch.zeros(d)
    # training leaves other data than the sums in the caches
    elsewhere = torch.randn(8_000_000, generator=random)

    def integers() -> None:
        ours.add(reply, 0.02)

    def floats() -> None:
        other.add_(reply["w"], alpha=0.02)

    return Row.of(
        f"{d:,} parameters", interleave(integers, floats, 40, before=lambda: elsewhere.neg_())
    )
