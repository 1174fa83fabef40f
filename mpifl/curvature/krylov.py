"""A growing orthonormal basis and the operator projected on it: what Lanczos and quadrature build."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mpifl.curvature.probes import normals
from mpifl.curvature.symmetric import Symmetric


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal rows W [m, d] and T = W H W' [m, m]: W'TW is the part of H that has been seen."""

    vectors: Tensor
    matrix: Tensor

    def product(self, rows: Tensor) -> Tensor:
        """The products [k, d] of W'TW with `rows [k, d]`."""
        return ((rows @ self.vectors.T) @ self.matrix) @ self.vectors

    def diagonal(self) -> Tensor:
        """The diagonal [d] of W'TW."""
        diagonal = self.vectors.new_zeros(self.vectors.shape[1])
        for rows, products in zip(
            self.vectors.split(8), (self.matrix @ self.vectors).split(8), strict=True
        ):
            diagonal += (rows * products).sum(0)
        return diagonal

    def trace(self) -> float:
        """The trace of W'TW, exact."""
        return self.matrix.diagonal().sum(dtype=torch.float64).item()


def nothing(operator: Symmetric) -> Basis:
    """The basis of no vectors: nothing has been seen."""
    zeros = {"dtype": operator.dtype, "device": operator.device}
    return Basis(torch.zeros(0, operator.dimension, **zeros), torch.zeros(0, 0, **zeros))


class Space:
    """A basis that `step` widens by one vector and one product, up to `most`.

    Products along a chain of steps leave the space in one direction only, the chain's next vector;
    `restart` begins another chain, orthogonal to all before. A chain ends by itself where its space
    is complete.
    """

    def __init__(
        self, operator: Symmetric, most: int, seed: int, start: Tensor | None = None
    ) -> None:
        self.operator, self.most, self.seed = operator, most, seed
        self.size = 0
        self.scale = 0.0
        """the largest norm of a product with a unit vector: at most the largest magnitude of an
        eigenvalue
        """
        self._vectors = torch.empty(
            0, operator.dimension, dtype=operator.dtype, device=operator.device
        )
        self._matrix = np.zeros((most, most))
        # of the last vector of each chain: what of its product leaves the space
        self._leaving: dict[int, Tensor] = {}
        self._starts = 0
        self._next = start if start is not None else normals(operator, seed, [0])[0]
        self._next = self._next / self._next.norm()
        self._continues = False

    @property
    def rounding(self) -> float:
        """What rounding leaves in values and residuals."""
        return 10 * torch.finfo(self.operator.dtype).eps * self.scale

    @property
    def complete(self) -> bool:
        """Whether the operator maps the space into itself, so that a further step needs a new
        start.
        """
        return self._next is None

    def step(self) -> None:
        """Take in the next vector, with one product; the space must not be full."""
        if self._next is None:
            self.restart()
        number, vector = self.size, self._next
        if self._continues:
            del self._leaving[number - 1]  # it is the next vector's direction
        self._store(vector)
        rest = self.operator(vector)
        self.scale = max(self.scale, rest.norm().item())
        column, rest = self._orthogonalised(rest)
        self._matrix[: number + 1, number] = self._matrix[number, : number + 1] = column
        length = rest.norm().item()
        self._leaving[number] = rest
        self._continues = length > self.rounding and self.size < self.operator.dimension
        self._next = rest / length if self._continues else None

    def restart(self) -> None:
        """Let the next vector be a random one, orthogonal to the space."""
        self._starts += 1
        _, rest = self._orthogonalised(normals(self.operator, self.seed, [self._starts])[0])
        self._next, self._continues = rest / rest.norm(), False

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The projected operator's eigenvalues [m], ascending, and eigenvectors [m, m], and bounds
        on residuals [m].
        """
        values, coordinates = np.linalg.eigh(self._matrix[: self.size, : self.size])
        ends = list(self._leaving)
        bounds = np.abs(coordinates[ends]).T @ np.array(
            [self._leaving[end].norm().item() for end in ends]
        )
        return values, coordinates, bounds

    def combine(self, coordinates: np.ndarray) -> Tensor:
        """The vectors [k, d] of `coordinates [m, k]`."""
        given = torch.from_numpy(np.ascontiguousarray(coordinates.T)).to(self._vectors)
        return given @ self._vectors[: self.size]

    def basis(self) -> Basis:
        """What the space is now."""
        matrix = torch.from_numpy(self._matrix[: self.size, : self.size].copy()).to(self._vectors)
        return Basis(self._vectors[: self.size], matrix)

    def _store(self, vector: Tensor) -> None:
        # room for half as many again: memory follows what is used
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
        """The coordinates in the space, float64 [m], and what is left of the vector outside, made
        so twice.
        """
        rows, coordinates = self._vectors[: self.size], 0
        for _ in range(2):
            along = rows @ vector
            vector = vector - along @ rows
            coordinates = coordinates + along
        return np.asarray(torch.as_tensor(coordinates).double().cpu()), vector
