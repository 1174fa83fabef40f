"""Messages of more than 2^31 bytes, as models of hundreds of millions of parameters send them; two
ranks, 16 GB.
"""

from __future__ import annotations

import numpy as np
import torch

from mpifl.parallel.communicator import Communicator
from mpifl.parallel.exact_sum import WeightedSum

SIZE = (1 << 28) + 5  # float64 or int64
BLOCK = 1 << 20


def broadcast_brings_them(f: Communicator) -> None:
    own = (
        torch.arange(SIZE, dtype=torch.float64)
        if f.is_server
        else torch.zeros(1, dtype=torch.float64).expand(SIZE)
    )
    got = f.broadcast({"w": own})["w"]
    for start, part in zip(range(0, SIZE, BLOCK), got.split(BLOCK), strict=True):
        assert torch.equal(part, torch.arange(start, start + len(part), dtype=torch.float64))


def total_adds_them(f: Communicator) -> None:
    rows = np.zeros((f.size, 1))
    sums = WeightedSum({"w": torch.ones(1)})
    sums.add({"w": torch.full((1,), f.rank + 1.0).expand(SIZE)}, 0.5)
    rows[f.rank] = f.rank + 1
    result = f.total(sums, {"rows": rows})
    if result:
        mean, gathered = result
        assert tuple(map(float, mean["w"].aminmax())) == (1.5, 1.5)
        assert gathered["rows"].ravel().tolist() == [1.0, 2.0]


if __name__ == "__main__":
    communicator = Communicator()
    broadcast_brings_them(communicator)
    total_adds_them(communicator)
    if communicator.is_server:
        print("ok")
