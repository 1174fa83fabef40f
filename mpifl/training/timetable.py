"""Who trains in each round, and on how many minibatches: computed alike on every rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from mpifl.training.algorithm import Budget
from mpifl.training.clients import Clients, Work
from mpifl.training.heterogeneity import Heterogeneity, SmallestLabels
from mpifl.training.sampling import Participation

NOBODY = np.zeros(0, dtype=np.int64)


class Turn(NamedTuple):
    """A round's work."""

    cohort: np.ndarray
    """int64 [k]: the clients that train, sorted"""
    steps: np.ndarray
    """int64 [k]: how many minibatches each of them trains on"""
    late: np.ndarray = NOBODY
    """int64: clients of the round whose replies come too late; they are not in the cohort"""
    there: int = -1
    """how many clients could take part; -1: all that train"""


class Timetable(Protocol):
    """The work of every round."""

    @property
    def federation(self) -> Federation:
        """The clients of the federation, though one may do the work of all."""

    def turn(self, round: int) -> Turn:
        """The work of `round`, from 1."""


@dataclass(frozen=True, eq=False)
class Federation:
    """The cohorts that `participation` draws from the clients that may train, and are there."""

    participation: Participation
    heterogeneity: Heterogeneity
    participants: np.ndarray
    """int64: the clients that may train, ascending"""
    work: Work
    labels: SmallestLabels
    seed: int

    @property
    def federation(self) -> Federation:
        return self

    def turn(self, round: int) -> Turn:
        if self.heterogeneity.is_nothing:
            cohort = self._cohort(self.participants, round)
            return Turn(cohort, self.work.steps[cohort])
        is_there = self.heterogeneity.there(round, self.labels, self.seed)[self.participants]
        cohort = self._cohort(self.participants[is_there], round)
        straggles = self.heterogeneity.straggling(cohort, round, self.seed)
        late = NOBODY
        if self.heterogeneity.late == "drop":
            late = cohort[straggles]
            cohort = cohort[~straggles]
            straggles = straggles[~straggles]
        steps = np.zeros(len(cohort), dtype=np.int64)
        for place, client in enumerate(cohort.tolist()):
            steps[place] = self._steps(client, bool(straggles[place]), round)
        return Turn(cohort, steps, late, int(is_there.sum()))

    def _cohort(self, eligible: np.ndarray, round: int) -> np.ndarray:
        """As many clients as of all that may train, or all that are `eligible`."""
        if not len(eligible):
            return eligible
        places = self.participation.cohort(
            self.seed, round, len(eligible), of=len(self.participants)
        )
        return eligible[places]

    def _steps(self, client: int, straggles: bool, round: int) -> int:
        """How many minibatches a client trains on in `round`."""
        differs = self.heterogeneity
        passes = self.work.passes
        steps = int(self.work.steps[client])
        full = passes or steps
        done = differs.reach(client, full, self.seed)
        if straggles or (differs.epochs and not differs.stragglers):
            drawn = differs.work(client, round, full, passes > 0, self.seed)
            done = min(done, drawn)
        return steps // full * done


@dataclass(frozen=True, eq=False)
class Pool:
    """One client, number 0, which does in each round the work of the round of a federation."""

    federation: Federation
    budget: Budget
    batch: int

    def turn(self, round: int) -> Turn:
        turn = self.federation.turn(round)
        if not len(turn.cohort):
            return Turn(turn.cohort, turn.steps, there=turn.there)
        steps = self._steps(turn.cohort, turn.steps)
        return Turn(np.zeros(1, np.int64), np.array([steps]), there=turn.there)

    def _steps(self, cohort: np.ndarray, steps: np.ndarray) -> int:
        if self.budget == "steps":
            return int(steps.sum())
        if self.budget == "sequence":
            return int(steps.mean() + 0.5)
        work = self.federation.work
        samples = (work.samples[cohort] * steps / work.steps[cohort]).sum()
        return int(np.ceil(samples / self.batch - 1e-9))


def timetable(
    clients: Clients,
    participation: Participation,
    heterogeneity: Heterogeneity,
    participants: np.ndarray,
    seed: int,
) -> Timetable:
    """That of a run with these `clients`, of which the `participants` (int64) train."""
    of_clients = NOBODY
    if not heterogeneity.is_nothing:  # a table of a million clients' labels is large
        of_clients = (clients.counts() > 0).argmax(1)
    smallest = SmallestLabels(of_clients, clients.classes)
    federation = Federation(
        participation, heterogeneity, participants, clients.work(), smallest, seed
    )
    if clients.algorithm.pool is None:
        return federation
    return Pool(federation, clients.algorithm.pool, clients.local.batch)
