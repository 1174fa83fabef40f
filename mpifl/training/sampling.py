"""Who takes part in a round, and which worker plays whom: computed alike on every rank, nothing
sent.
"""

from __future__ import annotations

import heapq
from typing import Literal, NamedTuple

import numpy as np

from mpifl import seeds
from mpifl.config import MOST_PERMUTED
from mpifl.options import BadInput, Share, options

_REDRAWS = 1000
_FIXED_COST = 0.5
"""a client's work beside its minibatches, in minibatches: loading weights, adding the reply"""


class RoundPlan(NamedTuple):
    """Who plays in a round, and which worker plays whom."""

    round: int
    cohort: np.ndarray
    """int64: the clients that take part, sorted"""
    steps: np.ndarray
    """int64 [cohort]: how many minibatches each of them trains on"""
    late: np.ndarray
    """int64: clients of the round whose replies come too late; they are not in the cohort"""
    there: int
    """how many clients could take part; -1: all that train"""
    assigned: list[list[int]]
    """for each worker, the clients that it plays, in this order"""

    def players(self, first_worker: int) -> dict[int, int]:
        """Client -> the rank that plays it, where workers are the ranks from `first_worker` on."""
        ranks = {}
        for rank, clients in enumerate(self.assigned, start=first_worker):
            ranks.update(dict.fromkeys(clients, rank))
        return ranks


@options
class Participation:
    """How a round's cohort is drawn from all clients."""

    kind: Literal["fixed", "bernoulli"] = "fixed"
    """fixed: floor(fraction x clients), without replacement; bernoulli: each client on its own,
    redrawn if none (unless some clients are not there: see heterogeneity)
    """
    fraction: Share = 1.0
    """share of the clients that take part in a round"""
    draw: Literal["sample", "permutation"] = "sample"
    """how a cohort of more than 10,000 clients is drawn: sample, in time of the cohort; or
    permutation, in time of all clients, as mpifl 0.1 did; of fewer clients both draw the same
    """

    def cohort(self, seed: int, round: int, clients: int, of: int = 0) -> np.ndarray:
        """The sorted ids (int64) of the clients that take part in `round`.

        Where only `clients` of a larger number `of` are there, as many take part as otherwise would
        of these, if they are enough; a Bernoulli draw of nobody then stands. Raises BadInput when
        the fraction picks nobody though all are there.
        """
        random = seeds.generator(seed, "cohort", round)
        whole = of or clients
        samples = self.draw == "sample" and whole > MOST_PERMUTED
        if self.kind == "fixed":
            size = self.largest_cohort(whole)
            if size == 0:
                raise self._nobody(clients)
            if samples:
                return _sample(random, clients, size)
            return np.sort(random.permutation(clients)[:size]).astype(np.int64)
        for _ in range(_REDRAWS):
            if samples:
                chosen = _each_with(random, clients, self.fraction)
            else:
                chosen = np.flatnonzero(random.random(clients) < self.fraction).astype(np.int64)
            if chosen.size or clients < of:
                return chosen
        raise self._nobody(clients)

    def largest_cohort(self, clients: int) -> int:
        """How many clients take part in a round at most."""
        if self.kind == "bernoulli":
            return clients
        return int(self.fraction * clients + 1e-9)  # 0.29 * 100 is 28.999999999999996

    def _nobody(self, clients: int) -> BadInput:
        return BadInput(
            f"participation.fraction: expected to pick at least one of {clients} clients; got "
            f"{self.fraction}, which picks nobody; allowed: {1 / clients:.3g} and more"
        )


def _sample(random: np.random.Generator, clients: int, size: int) -> np.ndarray:
    """int64, sorted: `size` of the clients, or all if they are fewer."""
    size = min(size, clients)
    return np.sort(random.choice(clients, size, replace=False, shuffle=False)).astype(np.int64)


def _each_with(random: np.random.Generator, clients: int, probability: float) -> np.ndarray:
    """int64, sorted: each of the clients with this probability, by the gaps between those drawn."""
    at_once = int(clients * probability + 6 * (clients * probability) ** 0.5) + 8
    last = -1
    found = []
    while last < clients:
        gaps = np.minimum(random.geometric(probability, at_once), clients + 1)
        drawn = last + np.cumsum(gaps)
        found.append(drawn)
        last = int(drawn[-1])
    chosen = np.concatenate(found)
    return chosen[chosen < clients].astype(np.int64)


def costs(steps: np.ndarray) -> np.ndarray:
    """f8 [k]: the expected work of clients that train on `steps` [k], in minibatches."""
    return steps + _FIXED_COST


def assign(cohort: np.ndarray, costs: np.ndarray, workers: int) -> list[list[int]]:
    """The clients that each worker plays.

    The client with the most work comes first, and each goes to the worker with the least work so
    far. `costs[i]` is the expected work of `cohort[i]` in any unit. Ties go by client id and worker
    number.

    >>> assign(np.array([3, 5, 8, 9]), np.array([4.0, 1.0, 3.0, 2.0]), 2)
    [[3, 5], [8, 9]]
    """
    load = [(0.0, worker) for worker in range(workers)]
    plays: list[list[int]] = [[] for _ in range(workers)]
    for i in np.lexsort((cohort, -costs)):
        work, worker = heapq.heappop(load)
        plays[worker].append(int(cohort[i]))
        heapq.heappush(load, (work + float(costs[i]), worker))
    return plays


def weights(objective: Literal["samples", "uniform"], sizes: np.ndarray) -> np.ndarray:
    """The weight of each client of a cohort in the mean, float64 of sum 1: by its samples, or all
    alike.

    >>> weights("samples", np.array([1, 3])).tolist(), weights("uniform", np.array([1, 3])).tolist()
    ([0.25, 0.75], [0.5, 0.5])
    """
    sizes = np.ones(len(sizes)) if objective == "uniform" else sizes.astype(np.float64)
    return sizes / sizes.sum()
