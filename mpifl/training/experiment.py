"""What a run is made of: all that the round loop needs, built alike on every rank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mpifl.data.batches import Samples
from mpifl.training.client import Clients
from mpifl.training.evaluate import Evaluation
from mpifl.training.sampling import Participation, RoundPlan, assign


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

    def plan(self, round: int, workers: int) -> RoundPlan:
        """Who plays in `round`, and which worker plays whom: the same on every rank."""
        cohort = self.participation.cohort(self.seed, round, len(self.clients))
        assigned = assign(cohort, self.clients.costs(cohort), workers)
        return RoundPlan(round, cohort, assigned)
