"""The density of the spectrum by stochastic Lanczos quadrature.

See Golub & Welsch (1969) and Ghorbani et al. (2019).

s Lanczos steps from a random start of norm 1 give a matrix T. Its eigenvalues and the squared first
coordinates of its eigenvectors are the nodes and weights of a Gauss quadrature: the average over
starts of sum_i weight_i f(node_i) estimates tr f(H) / d. For polynomials of degree below 2 s its
only error is the spread between starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpifl.curvature.krylov import Space
from mpifl.curvature.probes import signs
from mpifl.curvature.symmetric import Symmetric
from mpifl.options import BadInput


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Nodes and weights [starts, steps].

    The weights of each start add up to 1; absent nodes have weight 0.
    """

    nodes: np.ndarray
    weights: np.ndarray
    dimension: int

    def mean(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean of f over the spectrum and its standard error.

        `values` are f(nodes) [..., starts, steps].
        """
        by_start = (values * self.weights).sum(-1)
        starts = by_start.shape[-1]
        spread = by_start.std(-1, ddof=1) if starts > 1 else np.full(by_start.shape[:-1], np.nan)
        return by_start.mean(-1), spread / np.sqrt(starts)

    def moment(self, degree: int) -> tuple[float, float]:
        """tr H^degree / d and its standard error."""
        value, error = self.mean(self.nodes**degree)
        return float(value), float(error)

    def share_below(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The share of eigenvalues at or below each of `at [n]`, and its standard error."""
        return self.mean(self.nodes <= np.asarray(at)[:, None, None])

    def density(
        self, grid: np.ndarray, width: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The density on `grid [n]` and its error; each eigenvalue is a Gaussian of `width`.

        The default width is a hundredth of the range of the nodes (of a single node: of its size).
        A smaller one shows the single nodes.
        """
        width = width or 0.01 * (np.ptp(self.nodes) or np.abs(self.nodes).max() or 1.0)
        distance = (np.asarray(grid)[:, None, None] - self.nodes) / width
        return self.mean(np.exp(-(distance**2) / 2) / (width * np.sqrt(2 * np.pi)))

    @property
    def error(self) -> float:
        """The area under the density's standard error: how much of the spectrum is uncertain."""
        grid = self.grid()
        return float(np.trapezoid(self.density(grid)[1], grid))

    def grid(self, points: int = 400) -> np.ndarray:
        """Points [n] over the range of the nodes and a little more."""
        low = self.nodes.min()
        high = self.nodes.max()
        margin = 0.05 * (high - low) or 1.0
        return np.linspace(low - margin, high + margin, points)


def spectrum(
    operator: Symmetric,
    *,
    starts: int = 10,
    steps: int = 50,
    tolerance: float = 0.05,
    seed: int = 0,
) -> Spectrum:
    """The spectrum from random starts of at most `steps` products each.

    Stops after at least two starts when the `error` is at most `tolerance`, or after `starts`.
    Raises BadInput for less than one start or step.
    """
    if starts < 1 or steps < 1:
        raise BadInput(f"spectrum: expected at least one start and step; got {starts} and {steps}")
    rules = []
    for number in range(starts):
        rules.append(quadrature(operator, number, steps, seed))
        found = _together(rules, operator.dimension)
        if number and operator.any(found.error <= tolerance):
            break
    return found


def _together(rules: list[tuple[np.ndarray, np.ndarray]], dimension: int) -> Spectrum:
    """The quadrature rules of all starts; those with fewer nodes get absent ones."""
    longest = max(len(nodes) for nodes, _ in rules)
    all_nodes = []
    all_weights = []
    for nodes, weights in rules:
        absent = longest - len(nodes)
        all_nodes.append(np.concatenate([nodes, np.full(absent, nodes[-1])]))
        all_weights.append(np.concatenate([weights, np.zeros(absent)]))
    return Spectrum(np.stack(all_nodes), np.stack(all_weights), dimension)


def quadrature(
    operator: Symmetric, number: int, steps: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights [steps] of start `number`."""
    start = signs(operator, seed, [number], "curvature quadrature")[0]
    space = Space(operator, min(steps, operator.dimension), seed, start)
    while space.size < space.most and not (space.size and operator.any(space.complete)):
        space.step()
    values, coordinates, _ = space.ritz()
    return values, coordinates[0] ** 2
