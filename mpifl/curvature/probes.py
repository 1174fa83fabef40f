"""Random vectors to probe an operator with: each a function of the seed and its number, the same on
every process.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mpifl.curvature.symmetric import Symmetric
from mpifl.seeds import generator


def signs(
    operator: Symmetric, seed: int, numbers: Iterable[int], purpose: str = "curvature probe"
) -> Tensor:
    """Rademacher vectors [k, d], of entries 1 and -1: of all probes they have the least variance
    for a trace.
    """
    d = operator.dimension
    bits = [
        np.frombuffer(generator(seed, purpose, number).bytes(-(-d // 8)), np.uint8)
        for number in numbers
    ]
    rows = np.stack([np.unpackbits(row, count=d) for row in bits]).astype(np.int8) * 2 - 1
    return torch.from_numpy(rows).to(operator.device, operator.dtype)


def normals(
    operator: Symmetric, seed: int, numbers: Iterable[int], purpose: str = "curvature start"
) -> Tensor:
    """Standard normal vectors [k, d]: as starts of an iteration they favour no direction."""
    rows = [
        generator(seed, purpose, number).standard_normal(operator.dimension, np.float32)
        for number in numbers
    ]
    return torch.from_numpy(np.stack(rows)).to(operator.device, operator.dtype)
