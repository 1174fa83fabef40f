"""Random vectors for probing an operator, the same on every process.

Each is a function of the seed and its number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mpifl.curvature.symmetric import Symmetric
from mpifl.seeds import generator


def signs(
    operator: Symmetric, seed: int, numbers: Iterable[int], purpose: str = "curvature probe"
) -> Tensor:
    """Rademacher vectors [k, d], of 1 and -1: the probes with the least variance for a trace."""
    d = operator.dimension
    bits = []
    for number in numbers:
        octets = generator(seed, purpose, number).bytes(math.ceil(d / 8))
        bits.append(np.unpackbits(np.frombuffer(octets, np.uint8), count=d))
    rows = np.stack(bits).astype(np.int8) * 2 - 1
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
