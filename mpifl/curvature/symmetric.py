"""A symmetric operator: what every estimator of curvature works on, a matrix known by its products
alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor


class Symmetric(ABC):
    """A symmetric matrix [d, d] that is called with vectors: `operator(v [d])`, or `operator(v [k,
    d])` row by row.
    """

    dimension: int
    dtype: torch.dtype
    device: torch.device
    products: int = 0
    """products with a vector so far: the cost that estimators are compared by"""
    watch: Callable[[int], None] | None = None
    """told of the number of products after each block of them"""

    @abstractmethod
    def block(self, vectors: Tensor) -> Tensor:
        """The products [k, d] with each row of `vectors [k, d]`."""

    def __call__(self, vectors: Tensor) -> Tensor:
        rows = vectors.reshape(-1, self.dimension)
        products = self.block(rows)
        self.products += len(rows)
        if self.watch is not None:
            self.watch(len(rows))
        return products.view_as(vectors)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set for any of the processes that share the operator: they must stop
        together.
        """
        return flag


class Matrix(Symmetric):
    """A dense symmetric matrix [d, d]: the judge of the estimators, and a toy to learn them with."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.dimension, self.dtype, self.device = len(matrix), matrix.dtype, matrix.device

    def block(self, vectors: Tensor) -> Tensor:
        return vectors @ self.matrix


def dense(operator: Symmetric, block: int = 32) -> Tensor:
    """The whole matrix [d, d] of a small operator, by d products; symmetric to rounding.

    >>> dense(Matrix(torch.diag(torch.tensor([1.0, 2.0])))).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    unit = torch.eye(operator.dimension, dtype=operator.dtype, device=operator.device)
    return torch.cat([operator(rows) for rows in unit.split(block)])
