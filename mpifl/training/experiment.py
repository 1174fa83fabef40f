"""What a run is made of: all that the round loop needs, built alike on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from mpifl.data.batches import Samples
from mpifl.training.client import Clients
from mpifl.training.evaluate import Evaluation
from mpifl.training.sampling import Participation, RoundPlan, assign
from mpifl.training.tallies import OWN, TEST, EvaluationSet, evaluation_set


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
    states_folder: Path | None = None
    """where each rank keeps its clients' states in a file; None: in memory"""
    participants: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """int64: the clients that may train, ascending; empty: all of them"""
    held_out: Sequence[EvaluationSet] = ()
    """what the global model is evaluated on beside the test set"""

    def __post_init__(self) -> None:
        if not len(self.participants):
            self.participants = np.arange(len(self.clients))
        test = evaluation_set(TEST, self.test, self.clients.classes)
        self.sets = (test, *self.held_out)
        """all that the global model is evaluated on, the test set first"""

    @property
    def own(self) -> EvaluationSet | None:
        """The clients' own test sets; None where nothing is held out."""
        return next((of for of in self.held_out if of.name == OWN), None)

    def holdout(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Indices and offsets of the clients' own test sets, and for each client whether it trains;
        None where nothing is held out.
        """
        own = self.own
        if own is None:
            return None
        offsets = np.concatenate([[0], np.cumsum(own.samples_by_client)])
        trains = np.zeros(len(self.clients), dtype=np.int64)
        trains[self.participants] = 1
        return own.indices.cpu().numpy(), offsets, trains

    def plan(self, round: int, workers: int) -> RoundPlan:
        """Who plays in `round`, and which worker plays whom: the same on every rank."""
        places = self.participation.cohort(self.seed, round, len(self.participants))
        cohort = self.participants[places]
        assigned = assign(cohort, self.clients.costs(cohort), workers)
        return RoundPlan(round, cohort, assigned)
