"""How a run stands after a round, and where it begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from mpifl.training.algorithm import check_vectors
from mpifl.training.client_rows import Column, Failure
from mpifl.training.client_states import ClientState
from mpifl.training.evaluate import Score
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Model, Vectors
from mpifl.training.tallies import Tally
from mpifl.training.timeline import Kind
from mpifl.training.timetable import NOBODY


class RunFailed(RuntimeError):
    """A client diverged, where `divergence = "stop"`.

    On rank 0 the message names round and client.
    """


@dataclass
class Progress:
    """How a run stands after a round: all that the next round needs, and the last one's results.

    On workers only the weights, the buffers and the round are kept up to date.
    """

    w: Tensor
    """[d], on the host"""
    buffers: Tensor
    """[b], on the host"""
    server: Vectors
    """what the algorithm remembers on the server"""
    round: int = 0
    cohort: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """int64 [cohort]: the clients of the round, sorted"""
    rows: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """float64 [cohort, Column]; a client that failed has weight 0, and no loss or accuracy (NaN)"""
    figures: dict[str, Any] = field(default_factory=dict)
    """of the round: bytes, seconds ..."""
    models: list[Model] = field(default_factory=list)
    """of the `counted` clients after training, in rounds that keep them"""
    score: Score | None = None
    """of `w`, when it was evaluated"""
    tallies: dict[str, Tally] = field(default_factory=dict)
    """counts of the same evaluation on each set of samples, by its name"""
    means: Vectors = field(default_factory=dict)
    """weights [d] that are means of local models, to be tested too"""
    scores: dict[str, Score] = field(default_factory=dict)
    """of `means`"""
    late: np.ndarray = field(default_factory=lambda: NOBODY)
    """int64: clients of the round that are not in its cohort, since their replies come too late"""
    there: int = -1
    """how many clients could take part in the round; -1: all that train"""
    spent: np.ndarray = field(default_factory=lambda: np.zeros((0, len(Kind))))
    """float64 [ranks, Kind]: the seconds of every rank in the round"""
    stopped: str = ""
    """what asked for a stop before the last round was done; empty if nothing did"""

    @property
    def counted(self) -> np.ndarray:
        """int64: the clients of the round whose replies count, sorted."""
        return self.cohort[self.rows[:, Column.FAILED] == Failure.NONE]


@dataclass
class Start:
    """Where a run begins: at its initial weights, or where a checkpoint was written."""

    progress: Progress
    states: Iterable[tuple[int, ClientState]] = ()
    """clients with what they keep, of those that this rank holds; an iterator that is read once"""
    holders: dict[int, int] = field(default_factory=dict)
    """client -> rank, the same on all ranks"""
    reached: int = 0
    """the round that hit the target accuracy, as the server knows; 0: none"""
    is_tested: bool = True
    """whether the weights were tested, if that was due, as the server knows"""


def first_progress(experiment: Experiment) -> Progress:
    """A run before its first round."""
    clients = experiment.clients
    w = clients.net.weights.cpu().clone()
    server = clients.algorithm.init_server(w)
    check_vectors(f"{type(clients.algorithm).__name__}.init_server", server)
    return Progress(w, clients.net.buffers.cpu().clone(), server)
