"""What a run is made of: all that the round loop needs, built alike on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from mpifl.data.batches import Samples
from mpifl.data.partition import counts
from mpifl.store import Holdout
from mpifl.training.clients import Clients, pooled
from mpifl.training.evaluate import Evaluation
from mpifl.training.heterogeneity import Heterogeneity
from mpifl.training.lane_choice import LanesWanted
from mpifl.training.sampling import Participation, RoundPlan, assign, costs
from mpifl.training.tallies import OWN, TEST, EvaluationSet, evaluation_set
from mpifl.training.timetable import timetable


@dataclass
class Experiment:
    """All that a run needs."""

    clients: Clients
    test: Samples
    participation: Participation
    evaluation: Evaluation
    rounds: int
    seed: int
    objective: Literal["samples", "uniform"] = "samples"
    divergence: Literal["stop", "skip", "continue"] = "stop"
    clients_rounds: frozenset[int] = frozenset()
    """rounds whose clients' models are brought to the server"""
    lanes: LanesWanted = 1
    """how many clients a rank trains at once; auto: as many as make training quicker"""
    states_folder: Path | None = None
    """where each rank keeps its clients' states in a file; None: in memory"""
    participants: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """int64: the clients that may train, ascending; empty: all of them"""
    heterogeneity: Heterogeneity = Heterogeneity()
    stores_start: bool = False
    """whether the first weights are stored as round 0: they are not drawn from the seed, or some of
    them never change
    """
    held_out: Sequence[EvaluationSet] = ()
    """what the global model is evaluated on beside the test set"""
    domain_names: tuple[str, ...] = ()
    """of the data; empty where they have no domains"""
    test_domains: np.ndarray | None = None
    """int64: the domain of each test sample"""
    trained_domains: np.ndarray | None = None
    """bool [clients, D]: of which domains each client has training samples"""
    left_out: tuple[str, ...] = ()
    """the domains that never train: those of the test set"""

    def __post_init__(self) -> None:
        if not len(self.participants):
            self.participants = np.arange(len(self.clients))
        self.partition = self.clients.parts
        """who owns which training samples; `clients` may be fewer, with the same samples"""
        self.timetable = timetable(
            self.clients,
            self.participation,
            self.heterogeneity,
            self.participants,
            self.seed,
        )
        self.players = self.participants
        """int64: those of `clients` that train"""
        if self.clients.algorithm.pool is not None:
            self.clients = pooled(self.clients)
            self.players = np.zeros(1, dtype=np.int64)
        test = evaluation_set(
            TEST,
            self.test,
            self.clients.classes,
            domains=self.test_domains,
            domain_count=len(self.domain_names),
        )
        if self.clients.algorithm.personal:
            test = self._for_each(test)
            self.held_out = [of if of.clients else self._for_each(of) for of in self.held_out]
        self.sets = (test, *self.held_out)
        """all that the global model is evaluated on, the test set first"""

    def _for_each(self, of: EvaluationSet) -> EvaluationSet:
        """The samples of nobody, for the own model of each client that trains."""
        trained = self.trained_domains if self.clients.algorithm.tests_own_domains else None
        return of.for_each(self.participants, len(self.partition), trained)

    @property
    def own(self) -> EvaluationSet | None:
        """The clients' own test sets; None where nothing is held out."""
        return next((of for of in self.held_out if of.name == OWN), None)

    def holdout(self) -> Holdout | None:
        """What is held out of training, as it is stored; None where nothing is."""
        own = self.own
        if own is None and not self.left_out:
            return None
        indices = np.zeros(0, dtype=np.int64)
        offsets = np.zeros(len(self.partition) + 1, dtype=np.int64)
        if own is not None:
            indices = own.indices.cpu().numpy()
            offsets[1:] = np.cumsum(own.samples_by_client)
        trains = np.zeros(len(self.partition), dtype=np.int64)
        trains[self.participants] = 1
        return Holdout(indices, offsets, trains, self.left_out)

    def label_counts(self) -> np.ndarray:
        """int32 [clients, classes]: training samples by owner and class; made at each call."""
        return counts(self.clients.labels, self.partition, self.clients.classes)

    def plan(self, round: int, workers: int) -> RoundPlan:
        """Who plays in `round`, and which worker plays whom: the same on every rank."""
        turn = self.timetable.turn(round)
        assigned = assign(turn.cohort, costs(turn.steps), workers)
        return RoundPlan(round, turn.cohort, turn.steps, turn.late, turn.there, assigned)
