"""What a run is made of, how it stands after a round, where it begins, and who is told of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from mpifl.data.batches import Samples
from mpifl.training.client import Clients
from mpifl.training.client_states import ClientStates, State
from mpifl.training.evaluate import Evaluation, Score
from mpifl.training.sampling import Participation

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator


@dataclass
class Experiment:
    """All that a run needs, built alike on every rank."""

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


@dataclass
class Progress:
    """Where a run stands after a round: all that the next round needs, and what is told of the
    last.
    """

    w: Tensor
    """[d], on the host"""
    buffers: Tensor
    """[b], on the host"""
    server: State
    round: int = 0
    cohort: np.ndarray | None = None
    rows: np.ndarray | None = None
    """float64 [cohort, COLUMNS]"""
    figures: dict[str, Any] = field(default_factory=dict)
    """of the round: bytes, seconds ..."""
    models: list[tuple[Tensor, Tensor]] | None = None
    """weights and buffers of the cohort's clients after training, in rounds that keep them"""
    score: Score | None = None
    """of `w`, when it was evaluated"""
    means: dict[str, Tensor] = field(default_factory=dict)
    """weights [d] that are means of local models, to be tested too"""
    scores: dict[str, Score] = field(default_factory=dict)
    """of `means`"""
    stopped: str = ""
    """what asked for a stop before the last round was done; empty if nothing did"""


class Callback:
    """What is told about a run, on rank 0; the store and the terminal derive from it."""

    def finished(self, progress: Progress, last: bool) -> None:
        """A round is complete, and so is the evaluation of its weights if one was due."""


class Keeper:
    """Keeps checkpoints, on every rank; this one keeps none."""

    def due(self, progress: Progress, ending: bool) -> bool:
        """Whether the server wants one now, or at the run's `ending`."""
        return False

    def keep(self, progress: Progress, states: ClientStates, communicator: Communicator) -> None:
        """Write one: all ranks together, before the round after `progress`."""


@dataclass
class Start:
    """Where a run begins: the round it goes on from, and what was kept of it."""

    progress: Progress | None = None
    """None: from the initial weights"""
    states: Iterable[tuple[int, State]] = ()
    """clients with what they remember, of those that this rank holds; to be gone through once"""
    holders: dict[int, int] = field(default_factory=dict)
    """client -> rank, the same on all ranks"""
    reached: int = 0
    """the round that hit the target accuracy, as the server knows; 0: none"""
