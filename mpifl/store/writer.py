"""Store: the one writer of a run folder. Rank 0 holds it; readers may open the folder at any moment."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mpifl import __version__
from mpifl.settings import BadInput
from mpifl.store import files
from mpifl.store.columns import Clients, Rounds, Value
from mpifl.store.folder import MODELS, RESULTS, Owner, abandon, check_free, remove_run
from mpifl.store.image import (
    FORMAT,
    FORMAT_VERSION,
    MODEL_FORMAT,
    Entry,
    Results,
    model_image,
    model_name,
    results_image,
)
from mpifl.store.weights import model_arrays

_LEAST_WORK_PER_COMMIT = 20  # seconds of run for a second of commit: at most 5 % is spent in commits


class Partition(NamedTuple):
    """Who has which samples: client c has `indices[offsets[c] : offsets[c + 1]]`."""

    indices: np.ndarray
    """(N) i8"""
    offsets: np.ndarray
    """(C + 1) i8"""
    label_counts: np.ndarray
    """(C, K) i8"""


class Store:
    """A run being written: rows are kept in memory, and each commit rewrites the small `results.h5` whole.

    Commits come at the first append after `commit_seconds` (0: at each append), and rarer when they get slow.
    Every write is atomic; a refused one raises OSError with the path, and what was committed stays readable.
    All methods raise Superseded once another writer has taken the folder.
    """

    def __init__(self, folder: Path, owner: Owner, results: Results, commit_seconds: float) -> None:
        self.folder = folder
        self._owner = owner
        self._attributes = dict(results.attributes)
        self._fixed = results
        self._rounds = Rounds()
        self._clients = Clients(len(results.partition["offsets"]) - 1)
        self._models: dict[int, tuple[str, ...]] = {}
        self._commit_seconds = commit_seconds
        self._next_commit = 0.0
        self._open = True

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        config: str,
        seed: int,
        layout: Sequence[Entry],
        clients: int,
        partition: tuple[np.ndarray, np.ndarray, np.ndarray],
        provenance: Mapping[str, str | int | float | list],
        force: bool = False,
        commit_seconds: float = 5.0,
    ) -> Store:
        """Make the folder, with a `results.h5` of no rounds; `config` is the run's TOML text.

        Raises BadInput, before anything is made, if the folder is not free (`force` frees that of an earlier run, of
        which it removes the run's files only) or cannot be written.
        """
        folder = Path(folder)
        check_free(folder, force)
        results = Results(
            _attributes(config, seed), dict(provenance), layout, _checked(partition, clients), {}, {}, {}
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise BadInput(f"{folder}: expected a place to write; got {problem.strerror}") from problem
        store = cls(folder, Owner.claim(folder), results, commit_seconds)
        try:
            remove_run(folder)
            store.commit()
        except BaseException:
            abandon(folder)
            raise
        return store

    @property
    def run_id(self) -> str:
        return str(self._attributes["run_id"])

    def append(
        self, round: int, row: Mapping[str, Value], clients: Mapping[str, ArrayLike], ids: ArrayLike
    ) -> None:
        """Add a round: `row` for /rounds, and for /clients arrays (k) of the cohort `ids` (k). May commit."""
        self._check()
        self._clients.put(len(self._rounds), clients, ids)
        self._rounds.append(round, row)
        if time.monotonic() >= self._next_commit:
            self.commit()

    def amend(self, round: int, **columns: Value) -> None:
        """Fill in values of a round already appended: its weights are evaluated while the next one trains."""
        self._check()
        self._rounds.amend(round, columns)

    def weights(
        self,
        round: int,
        weights: ArrayLike,
        buffers: ArrayLike = (),
        clients: ArrayLike | None = None,
        client_buffers: ArrayLike | None = None,
        client_ids: ArrayLike | None = None,
    ) -> None:
        """Keep a round's global `weights [d]` and `buffers [b]`, and its clients' `[k, d]`, `[k, b]`, ids `[k]`.

        Written at once to a file of its own that never changes; seen under /models from the next commit on.
        """
        self._check()
        if round in self._models:
            raise ValueError(f"weights: expected a round not saved before; got {round}")
        arrays = model_arrays(weights, buffers, clients, client_buffers, client_ids)
        about = {"format": MODEL_FORMAT, "format_version": FORMAT_VERSION, "run_id": self.run_id, "round": round}
        image = model_image({**_software(), **about}, arrays, self._fixed.layout)
        (self.folder / MODELS).mkdir(exist_ok=True)
        files.write(self.folder / MODELS / f"{model_name(round)}.h5", image, self._owner.check)
        self._models[round] = tuple(arrays)

    def commit(self) -> None:
        """Rewrite `results.h5` now."""
        self._check()
        start = time.monotonic()
        self._attributes["updated"] = _now()
        results = Results(
            self._attributes,
            self._fixed.provenance,
            self._fixed.layout,
            self._fixed.partition,
            self._rounds.columns(),
            self._clients.columns(len(self._rounds)),
            dict(sorted(self._models.items())),
        )
        files.write(self.folder / RESULTS, results_image(results), self._owner.check)
        end = time.monotonic()
        pause = max(self._commit_seconds, _LEAST_WORK_PER_COMMIT * (end - start))
        self._next_commit = end + (pause if self._commit_seconds else 0.0)

    def close(self, status: str = "complete") -> None:
        """Commit for the last time, as `complete`, `stopped` or `failed`; a second close does nothing."""
        if status not in ("complete", "stopped", "failed"):
            raise ValueError(f"status: expected complete, stopped or failed; got {status!r}")
        if self._open:
            self._attributes["status"] = status
            self.commit()
            self._open = False

    def _check(self) -> None:
        if not self._open:
            raise RuntimeError(f"{self.folder}: this run is closed")
        self._owner.check()


def _attributes(config: str, seed: int) -> dict[str, str | int]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **_software(),
        "created": _now(),
        "run_id": str(uuid.uuid4()),
        "status": "running",
        "seed": seed,
        "config": config,
    }


def _software() -> dict[str, str]:
    return {"software": "mpifl", "softwareVersion": __version__}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _checked(partition: tuple[np.ndarray, np.ndarray, np.ndarray], clients: int) -> dict[str, np.ndarray]:
    indices, offsets, label_counts = (np.asarray(array, "i8") for array in partition)
    if offsets.shape != (clients + 1,) or len(label_counts) != clients or offsets[-1] != len(indices):
        got = f"{indices.shape}, {offsets.shape}, {label_counts.shape}"
        raise ValueError(f"partition: expected (N), ({clients + 1}) ending with N, ({clients}, K); got {got}")
    return {"indices": indices, "offsets": offsets, "label_counts": label_counts}
