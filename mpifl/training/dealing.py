"""Which rank evaluates which batches: each batch goes to the rank that would be done with it first.

So batches fill the time in which a rank would wait for others. Every rank computes the same from
the costs that the server has measured and sent.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from mpifl.training.sampling import RoundPlan, costs
from mpifl.training.timeline import Kind

_FORWARD = 1 / 3
"""a test's part of the cost of a training step on as many samples: the forward pass"""


@dataclass(frozen=True)
class Costs:
    """Seconds that work takes on each rank, float64 [ranks]; NaN where it was not measured yet."""

    work: np.ndarray
    """of a unit of clients' work (`sampling.costs`)"""
    batch: np.ndarray
    """of a batch of an evaluation"""

    @classmethod
    def unknown(cls, ranks: int) -> Costs:
        """Before anything was measured."""
        return cls(np.full(ranks, np.nan), np.full(ranks, np.nan))

    @classmethod
    def from_flat(cls, values: np.ndarray) -> Costs:
        """The inverse of `flat`."""
        work, batch = np.split(values.astype(np.float64), 2)
        return cls(work, batch)

    def flat(self) -> np.ndarray:
        """Both in one vector, float64 [2 ranks]."""
        return np.concatenate([self.work, self.batch])

    def after(self, plan: RoundPlan, spent: np.ndarray, batches: np.ndarray) -> Costs:
        """The costs after a round, of its seconds [ranks, Kind] and batches [ranks] evaluated."""
        trained = spent[:, Kind.TRAIN] + spent[:, Kind.OWN_TEST]
        work = _nearer(self.work, trained, units_of_work(plan, len(spent)))
        return Costs(work, _nearer(self.batch, spent[:, Kind.TEST], batches))

    def filled(self, samples_ratio: float) -> Costs:
        """The same with a guess where nothing was measured: what other ranks take.

        `samples_ratio`: how many times as many samples an evaluation's batch has as a minibatch.
        """
        work = _filled(self.work, 1.0)
        guess = float(work.mean()) * samples_ratio * _FORWARD
        return Costs(work, _filled(self.batch, guess))


def units_of_work(plan: RoundPlan, ranks: int) -> np.ndarray:
    """float64 [ranks]: the clients' work of a round on each rank, in units of `sampling.costs`."""
    of_clients = costs(plan.steps)
    units = np.zeros(ranks)
    for rank, clients in enumerate(plan.assigned, start=ranks - len(plan.assigned)):
        units[rank] = of_clients[np.searchsorted(plan.cohort, clients)].sum()
    return units


def deal(batches: int, loads: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The rank that evaluates each batch, int64 [batches], descending.

    `loads` [ranks] are the seconds that each rank works on other things, `seconds` [ranks] those
    that it takes for a batch. Ties go to the lower rank.

    >>> deal(5, np.array([0.0, 3.0, 2.0]), np.array([1.0, 1.0, 1.0])).tolist()
    [2, 0, 0, 0, 0]
    """
    queue = []
    for rank, (load, of_a_batch) in enumerate(zip(loads, seconds, strict=True)):
        queue.append((float(load + of_a_batch), rank))
    heapq.heapify(queue)
    owners = np.zeros(batches, dtype=np.int64)
    for place in range(batches):
        done, rank = queue[0]
        owners[place] = rank
        heapq.heapreplace(queue, (done + float(seconds[rank]), rank))
    return np.sort(owners)[::-1]


def _nearer(before: np.ndarray, seconds: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Costs moved half of the way to what was measured now; as before where nothing was."""
    measured = seconds / np.where(amount > 0, amount, np.nan)
    moved = np.where(np.isnan(before), measured, (before + measured) / 2)
    return np.where(amount > 0, moved, before)


def _filled(values: np.ndarray, guess: float) -> np.ndarray:
    is_known = np.isfinite(values)
    if not is_known.any():
        return np.full(len(values), guess)
    return np.where(is_known, values, values[is_known].mean())
