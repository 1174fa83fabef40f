"""A symmetric operator, known only by its products. All estimators of curvature use it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor


class Symmetric(ABC):
    """A symmetric matrix [d, d]; `operator(v)` is its product with v [d], or rows of v [k, d]."""

    dimension: int
    dtype: torch.dtype
    device: torch.device
    products: int = 0
    """products with a vector so far: the cost of an estimator"""
    watch: Callable[[int], None] | None = None
    """called with the number of products after each block of them"""

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
        """Whether `flag` is set on any process of the operator; they must stop together."""
        return flag


class Matrix(Symmetric):
    """A dense symmetric matrix [d, d], for tests of estimators and for trying them."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.dimension = len(matrix)
        self.dtype = matrix.dtype
        self.device = matrix.device

    def block(self, vectors: Tensor) -> Tensor:
        return vectors @ self.matrix


def dense(operator: Symmetric, block: int = 32) -> Tensor:
    """The matrix [d, d] of a small operator, by d products; symmetric up to rounding.

    >>> dense(Matrix(torch.diag(torch.tensor([1.0, 2.0])))).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    unit = torch.eye(operator.dimension, dtype=operator.dtype, device=operator.device)
    return torch.cat([operator(rows) for rows in unit.split(block)])
