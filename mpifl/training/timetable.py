"""Who trains in each round, and on how many minibatches: computed alike on every rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from mpifl.training.algorithm import Budget
from mpifl.training.client import Clients, Work
from mpifl.training.sampling import Participation


class Turn(NamedTuple):
    """A round's work."""

    cohort: np.ndarray
    """int64 [k]: the clients that train, sorted"""
    steps: np.ndarray
    """int64 [k]: how many minibatches each of them trains on"""


class Timetable(Protocol):
    """The work of every round."""

    def turn(self, round: int) -> Turn:
        """The work of `round`, from 1."""


@dataclass(frozen=True, eq=False)
class Federation:
    """The cohorts that `participation` draws from the clients that may train."""

    participation: Participation
    participants: np.ndarray
    """int64: the clients that may train, ascending"""
    work: Work
    seed: int

    def turn(self, round: int) -> Turn:
        places = self.participation.cohort(self.seed, round, len(self.participants))
        cohort = self.participants[places]
        return Turn(cohort, self.work.steps[cohort])


@dataclass(frozen=True, eq=False)
class Pool:
    """One client, number 0, which does in each round the work of the round of a federation."""

    federation: Federation
    budget: Budget
    batch: int

    def turn(self, round: int) -> Turn:
        cohort, steps = self.federation.turn(round)
        if not len(cohort):
            return Turn(cohort, steps)
        return Turn(np.zeros(1, np.int64), np.array([self._steps(cohort, steps)]))

    def _steps(self, cohort: np.ndarray, steps: np.ndarray) -> int:
        if self.budget == "steps":
            return int(steps.sum())
        if self.budget == "sequence":
            return int(steps.mean() + 0.5)
        work = self.federation.work
        samples = (work.samples[cohort] * steps / work.steps[cohort]).sum()
        return int(np.ceil(samples / self.batch - 1e-9))


def timetable(
    clients: Clients, participation: Participation, participants: np.ndarray, seed: int
) -> Timetable:
    """That of a run with these `clients`, of which the `participants` (int64) train."""
    federation = Federation(participation, participants, clients.work(), seed)
    if clients.algorithm.pool is None:
        return federation
    return Pool(federation, clients.algorithm.pool, clients.local.batch)
