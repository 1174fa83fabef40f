"""The sum over ranks at a round's end, against a bare Reduce of as many int64 on the same ranks.

`python -m benchmarks.total` is the program that mpirun starts on two ranks.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import torch

from benchmarks.on_ranks import on_ranks
from benchmarks.pairs import Pairs, Times, interleave
from benchmarks.report import Row
from mpifl.parallel.communicator import Communicator
from mpifl.parallel.devices import configure
from mpifl.parallel.exact_sum import WeightedSum, layout_of
from mpifl.parallel.mpi import MPI
from mpifl.parallel.ranks import pieces

SIZES = (1_000_000, 10_000_000)


def total() -> list[Row]:
    """the sum over two ranks at a round's end, against a bare int64 Reduce of the same size"""
    rows = []
    for size, pairs in zip(SIZES, on_ranks(2, "benchmarks.total"), strict=True):
        ours = [Times(*times) for times in pairs["ours"]]
        other = [Times(*times) for times in pairs["other"]]
        rows.append(Row.of(f"total() / Reduce, {size:,} numbers", Pairs(ours, other), bar=1.4))
    return rows


def _compare(communicator: Communicator, size: int) -> Pairs:
    reply = {"w": torch.ones(size)}
    sums = WeightedSum(reply, layout_of(reply))
    figures = {"rows": np.zeros((10, 10))}
    bare = np.ones(size, dtype=np.int64)

    def prepare() -> None:
        sums.begin(reply, expected=1 if communicator.is_server else 0)
        if not communicator.is_server:
            sums.add(reply, 1.0)
        communicator.Barrier()

    def reduce() -> None:
        for piece in pieces(bare):
            if communicator.is_server:
                communicator.Reduce(MPI.IN_PLACE, piece, op=MPI.SUM, root=0)
            else:
                communicator.Reduce(piece, None, op=MPI.SUM, root=0)

    repeats = max(10, 40_000_000 // size)
    return interleave(lambda: communicator.total(sums, figures), reduce, repeats, before=prepare)


def main() -> None:
    """Time both on all ranks; rank 0 prints its times as JSON."""
    communicator = Communicator()
    configure(torch.device("cpu"), 1)
    found = [asdict(_compare(communicator, size)) for size in SIZES]
    if communicator.is_server:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
