"""A growing orthonormal basis and the operator projected on it: for Lanczos and for quadrature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mpifl.curvature.probes import normals
from mpifl.curvature.symmetric import Symmetric


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal rows W [m, d] and T = W H W' [m, m]: W'TW is the part of H that is known."""

    vectors: Tensor
    matrix: Tensor

    def product(self, rows: Tensor) -> Tensor:
        """The products [k, d] of W'TW with `rows [k, d]`."""
        return ((rows @ self.vectors.T) @ self.matrix) @ self.vectors

    def diagonal(self) -> Tensor:
        """The diagonal [d] of W'TW."""
        diagonal = self.vectors.new_zeros(self.vectors.shape[1])
        all_products = self.matrix @ self.vectors
        for rows, products in zip(self.vectors.split(8), all_products.split(8), strict=True):
            diagonal += (rows * products).sum(0)
        return diagonal

    def trace(self) -> float:
        """The trace of W'TW, exact."""
        return self.matrix.diagonal().sum(dtype=torch.float64).item()


def nothing(operator: Symmetric) -> Basis:
    """The empty basis: nothing of the operator is known."""
    vectors = torch.zeros(0, operator.dimension, dtype=operator.dtype, device=operator.device)
    return Basis(vectors, vectors.new_zeros(0, 0))


class Space:
    """A basis that grows by one vector and one product at each `step`, up to `most` vectors.

    The steps form chains. The products of a chain leave the space in one direction only: that of
    the chain's next vector. `restart` begins another chain, orthogonal to all vectors before. A
    chain ends by itself when its space is complete.
    """

    def __init__(
        self, operator: Symmetric, most: int, seed: int, start: Tensor | None = None
    ) -> None:
        self.operator = operator
        self.most = most
        self.seed = seed
        self.size = 0
        self.scale = 0.0
        """the largest norm of a product with a unit vector, at most the largest |eigenvalue|"""
        self._vectors = torch.empty(
            0, operator.dimension, dtype=operator.dtype, device=operator.device
        )
        self._matrix = np.zeros((most, most))
        # for the last vector of each chain: the part of its product that leaves the space
        self._leaving: dict[int, Tensor] = {}
        self._starts = 0
        first = normals(operator, seed, [0])[0] if start is None else start
        self._next: Tensor | None = first / first.norm()
        self._continues = False

    @property
    def rounding(self) -> float:
        """A bound on rounding errors of values and residuals."""
        return 10 * torch.finfo(self.operator.dtype).eps * self.scale

    @property
    def complete(self) -> bool:
        """Whether the operator maps the space into itself; the next step then begins a chain."""
        return self._next is None

    def step(self) -> None:
        """Add the next vector, with one product; the space must not be full."""
        vector = self._new_start() if self._next is None else self._next
        number = self.size
        if self._continues:
            del self._leaving[number - 1]  # its direction is that of the next vector
        self._store(vector)
        rest = self.operator(vector)
        self.scale = max(self.scale, rest.norm().item())
        column, rest = self._orthogonalised(rest)
        self._matrix[: number + 1, number] = column
        self._matrix[number, : number + 1] = column
        length = rest.norm().item()
        self._leaving[number] = rest
        self._continues = length > self.rounding and self.size < self.operator.dimension
        self._next = rest / length if self._continues else None

    def restart(self) -> None:
        """Begin another chain: the next vector is a random one, orthogonal to the space."""
        self._next = self._new_start()
        self._continues = False

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The projection's eigenvalues [m], ascending, and vectors [m, m]; residual bounds [m]."""
        values, coordinates = np.linalg.eigh(self._matrix[: self.size, : self.size])
        ends = list(self._leaving)
        lengths = np.array([self._leaving[end].norm().item() for end in ends])
        return values, coordinates, np.abs(coordinates[ends]).T @ lengths

    def combine(self, coordinates: np.ndarray) -> Tensor:
        """The vectors [k, d] of `coordinates [m, k]`."""
        given = torch.from_numpy(np.ascontiguousarray(coordinates.T)).to(self._vectors)
        return given @ self._vectors[: self.size]

    def basis(self) -> Basis:
        """The present basis."""
        matrix = torch.from_numpy(self._matrix[: self.size, : self.size].copy()).to(self._vectors)
        return Basis(self._vectors[: self.size], matrix)

    def _new_start(self) -> Tensor:
        """A random unit vector, orthogonal to the space."""
        self._starts += 1
        _, rest = self._orthogonalised(normals(self.operator, self.seed, [self._starts])[0])
        return rest / rest.norm()

    def _store(self, vector: Tensor) -> None:
        # memory for half as many vectors again: it grows with use
        if self.size == len(self._vectors):
            room = min(self.most, max(8, self.size * 3 // 2))
            self._vectors = torch.cat(
                [self._vectors, self._vectors.new_empty(room - self.size, len(vector))]
            )
        self._vectors[self.size] = vector
        self.size += 1
        for end, rest in self._leaving.items():
            self._leaving[end] = rest - (vector @ rest) * vector

    def _orthogonalised(self, vector: Tensor) -> tuple[np.ndarray, Tensor]:
        """The vector's coordinates in the space, float64 [m], and its part outside; two passes."""
        rows = self._vectors[: self.size]
        coordinates = vector.new_zeros(self.size)
        for _ in range(2):
            along = rows @ vector
            vector = vector - along @ rows
            coordinates = coordinates + along
        return coordinates.double().cpu().numpy(), vector
