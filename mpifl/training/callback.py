"""Who is told of each round of a run: callbacks, and the writer of checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpifl.training.client_states import ClientStates
from mpifl.training.progress import Progress

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator


@dataclass(frozen=True)
class RunUnderway:
    """What callbacks are told of a run when it begins, or goes on."""

    folder: Path
    name: str
    run_id: str
    """the same after each resume"""
    config: str
    """TOML text, with every option"""
    round: int
    """after which it goes on; 0: it begins"""
    last_row: Callable[[], Mapping[str, float | int | str]]
    """the last row of /rounds so far: each column that it has, and its value"""


class Callback:
    """Told of a run's rounds, on rank 0. Derive from it, and override what you need."""

    def run_started(self, run: RunUnderway) -> None:
        """The run begins, or goes on after a stop. No round was played yet by this process."""

    def round_finished(self, progress: Progress, last: bool) -> None:
        """A round is complete, and so is the evaluation of its weights if one was due.

        `last` says whether the run ends with it. What `progress` holds must not be changed.
        """

    def round_tested(self, progress: Progress, last: bool) -> None:
        """The evaluation of a resumed run's last round is complete: the stop had abandoned it.

        `progress` has the weights and what the evaluation found; nothing else of the round.
        """

    def run_ended(self, status: str) -> None:
        """The run is `complete`, `stopped` or `failed`, and so its folder says."""


class Checkpointer:
    """Writes checkpoints, on every rank; this one writes none."""

    def is_due(self, progress: Progress, ending: bool) -> bool:
        """Whether the server wants one now, or at the run's `ending`."""
        return False

    def save(self, progress: Progress, states: ClientStates, communicator: Communicator) -> None:
        """Write one: all ranks together, before the round after `progress`."""
