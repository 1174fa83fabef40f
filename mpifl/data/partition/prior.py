"""Each client draws its samples by its own class prior: the split of FedDyn, FedDC and MAN.

Acar et al., Federated learning based on dynamic regularization (ICLR 2021), section 4.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from mpifl.data.partition.base import Concentration, Known, Partition, by_class, lognormal
from mpifl.options import Count, NonNegative, options

BLOCK = 4096


@options
class DirichletClients(Partition):
    """Clients of equal size; each draws without replacement, by a Dirichlet prior over the classes.

    Again and again a client is picked at random among those that are not full. It draws classes
    until one is not exhausted, and gets the next sample of that class. So late draws depend on what
    is left.
    """

    name: ClassVar[str] = "dirichlet_clients"

    alpha: Concentration = 0.3
    """Small: a client has few classes. Large: all alike."""

    sigma: NonNegative = 0.0
    """Standard deviation of the logarithm of a client's size; 0 makes all sizes equal."""

    method: Literal["fast", "exact"] = "fast"
    """`exact` draws and rejects as its authors do; `fast` has the same distribution, and ends"""

    draws: Count = 2_000_000
    """The most draws of `exact`."""

    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        labels = known.labels
        order, pool = by_class(labels, random)
        sizes = lognormal(len(labels), clients, self.sigma, random)
        prior = random.dirichlet(np.full(len(pool), self.alpha), size=clients)
        turns = arrivals(sizes, random)
        if self.method == "fast":
            classes = draw(prior, pool, turns, random)
        else:
            classes = draw_rejecting(prior, pool, turns, random, self.draws)
        if len(classes) < len(turns):
            raise self.refused(
                f"to place {len(turns)} samples",
                f"{len(classes)} placed in {self.draws} draws",
                'raise alpha or draws, or choose method = "fast"',
            )
        owners = np.empty(len(labels), dtype=np.int64)
        owners[order] = turns[np.argsort(classes, kind="stable")]
        return owners


def arrivals(sizes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """int64 [n]: the client of each turn, drawn uniformly.

    A client takes part until it has had its number of turns in `sizes` (int64 [clients], sum n).
    The arrivals of Poisson processes of equal rate have just this order.
    """
    clients = np.repeat(np.arange(len(sizes)), sizes)
    elapsed = np.cumsum(random.standard_exponential(len(clients)))
    starts = np.concatenate(([0.0], elapsed))[np.cumsum(sizes) - sizes]
    return clients[np.argsort(elapsed - starts[clients], kind="stable")]


def draw_rejecting(
    prior: np.ndarray, pool: np.ndarray, turns: np.ndarray, random: np.random.Generator, draws: int
) -> np.ndarray:
    """As `draw`, by drawing again while a class is exhausted.

    If `draws` draws are not enough, only the classes drawn so far are returned.
    """
    sums = np.cumsum(prior, axis=1)
    edges = (sums / sums[:, -1:]).tolist()
    left = pool.tolist()
    clients = turns.tolist()
    classes: list[int] = []
    for u in uniforms(random, draws):
        k = bisect_right(edges[clients[len(classes)]], u)
        if left[k]:
            left[k] -= 1
            classes.append(k)
            if len(classes) == len(clients):
                break
    return np.array(classes, dtype=np.int64)


def uniforms(random: np.random.Generator, n: int) -> Iterator[float]:
    """n uniform draws; `random` makes them in blocks."""
    for start in range(0, n, BLOCK):
        yield from random.random(min(BLOCK, n - start)).tolist()


def draw(
    prior: np.ndarray, pool: np.ndarray, turns: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """int64 [n]: the class of each turn's sample, among the classes that are not exhausted.

    It is drawn by the client's row of `prior` [clients, classes].

    `pool` int64 [classes] has the samples of each class, n in all; `turns` int64 [n] has the client
    of each turn. A prior without mass on the remaining classes counts as uniform.

    A block of turns is drawn at once. From the first turn on that asks for more of a class than is
    left, the draws of exhausted classes are made again. This has the distribution of drawing turn
    by turn: a draw among some classes, repeated if it falls on a forbidden one, is a draw among the
    others.
    """
    pool = pool.copy()
    classes = np.empty(len(turns), dtype=np.int64)
    for start in range(0, len(turns), BLOCK):
        clients = turns[start : start + BLOCK]
        drawn = classes[start : start + BLOCK]
        drawn[:] = among(prior, np.flatnonzero(pool), clients, random)
        done = 0
        while done < len(drawn):
            taken = overdrawn(drawn[done:], pool)
            pool -= np.bincount(drawn[done : done + taken], minlength=len(pool))
            done += taken
            again = done + np.flatnonzero(pool[drawn[done:]] == 0)
            if len(again):
                drawn[again] = among(prior, np.flatnonzero(pool), clients[again], random)
    return classes


def among(
    prior: np.ndarray, allowed: np.ndarray, clients: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """One of the `allowed` classes for each of `clients`, by its prior restricted to them."""
    different, row = np.unique(clients, return_inverse=True)
    mass = prior[np.ix_(different, allowed)]
    mass[mass.sum(axis=1) == 0] = 1
    edges = np.cumsum(mass, axis=1)
    edges /= edges[:, -1:]
    # One search for all: client i's edges lie in (i, i + 1].
    edges += np.arange(len(different))[:, None]
    found = np.searchsorted(edges.ravel(), row + random.random(len(clients)), side="right")
    return allowed[np.minimum(found - row * len(allowed), len(allowed) - 1)]


def overdrawn(drawn: np.ndarray, pool: np.ndarray) -> int:
    """The first index in `drawn` that asks for more of its class than `pool` has, or len(drawn)."""
    order = np.argsort(drawn, kind="stable")
    asked = np.bincount(drawn, minlength=len(pool))
    earlier = np.arange(len(drawn)) - np.repeat(np.cumsum(asked) - asked, asked)
    return int(order[earlier >= pool[drawn[order]]].min(initial=len(drawn)))
