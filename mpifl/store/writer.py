"""Store: the one writer of a run folder. Rank 0 holds it; readers may open the folder at any
moment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mpifl.options import BadInput
from mpifl.store import atomic, checkpoint, manifest, resume
from mpifl.store.arrays import model_arrays
from mpifl.store.hdf5_layout import (
    FORMAT_VERSION,
    MODEL_FORMAT,
    Entry,
    Results,
    model_image,
    model_name,
    partition_arrays,
    results_image,
    run_attributes,
    software,
    timestamp,
)
from mpifl.store.manifest import Part
from mpifl.store.round_tables import Clients, Cohorts, Rounds, Value
from mpifl.store.run_folder import (
    MODELS,
    RESULTS,
    Owner,
    abandon,
    begun,
    check_free,
    clear_unfinished,
    remove_run,
)

# seconds of run for a second of commit: at most 5 % is spent in commits
_LEAST_WORK_PER_COMMIT = 20


class Store:
    """A run being written: rows are kept in memory, and each commit rewrites the small `results.h5`
    whole.

    Commits come at the first append after `commit_seconds` (0: at each append), and rarer when they
    get slow. Every write is atomic; a refused one raises OSError with the path, and what was
    committed stays readable. All methods raise Superseded once another writer has taken the folder.
    """

    def __init__(self, folder: Path, owner: Owner, results: Results, commit_seconds: float) -> None:
        self.folder = folder
        self.owner = owner
        self._attributes = dict(results.attributes)
        self._fixed = results
        self._rounds = Rounds(results.rounds)
        self._clients = Clients(results.clients)
        self._models = {round: tuple(arrays) for round, arrays in results.models.items()}
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
        commit_seconds: float = 10.0,
    ) -> Store:
        """Make the folder, with a `results.h5` of no rounds; `config` is the run's TOML text.

        Raises BadInput, before anything is made, if the folder is not free (`force` frees that of
        an earlier run, of which it removes the run's files only) or cannot be written.
        """
        folder = Path(folder)
        check_free(folder, force)
        about = run_attributes(config, seed)
        results = Results(
            about,
            dict(provenance),
            layout,
            partition_arrays(partition, clients),
            {},
            Cohorts(clients),
            {},
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise BadInput(
                f"{folder}: expected a place to write; got {problem.strerror}"
            ) from problem
        store = cls(folder, Owner.claim(folder), results, commit_seconds)
        try:
            remove_run(folder)
            store.commit()
        except BaseException:
            abandon(folder)
            raise
        return store

    @classmethod
    def resume(
        cls,
        folder: Path,
        *,
        config: str,
        layout: Sequence[Entry],
        round: int,
        provenance: Mapping[str, str | int | float | list],
        commit_seconds: float = 10.0,
    ) -> Store:
        """Take over a run to go on after `round`, that of its checkpoint; `config` and `provenance`
        as they are now.

        Later rows are dropped, to be done again. Raises BadInput, before anything is touched,
        unless the folder holds this run: the same layout, and a config that differs in what may
        change only (see `binding`).
        """
        folder = resume.opened(Path(folder), config, layout, round).path
        owner = Owner.claim(folder)
        # with what the writer before did until now
        run = resume.opened(folder, config, layout, round)
        store = cls(folder, owner, resume.kept(run, config, round, provenance), commit_seconds)
        manifest.forget_after(folder, round, owner.check)
        clear_unfinished(folder)
        store.commit()
        return store

    @staticmethod
    def begun(folder: Path) -> bool:
        """Whether the folder holds something to resume: a run killed before its first commit left
        nothing.
        """
        return begun(folder)

    @property
    def run_id(self) -> str:
        return str(self._attributes["run_id"])

    @property
    def rounds(self) -> Mapping[str, np.ndarray]:
        """Every column of /rounds so far, as `Run.rounds` has them."""
        return self._rounds.columns()

    def append(
        self, round: int, row: Mapping[str, Value], clients: Mapping[str, ArrayLike], ids: ArrayLike
    ) -> None:
        """Add a round: `row` for /rounds, and for /clients arrays (k) of the cohort `ids` (k). May
        commit.
        """
        self._check()
        self._clients.put(len(self._rounds), clients, ids)
        self._rounds.append(round, row)
        if time.monotonic() >= self._next_commit:
            self.commit()

    def weights(
        self,
        round: int,
        weights: ArrayLike,
        buffers: ArrayLike = (),
        clients: ArrayLike | None = None,
        client_buffers: ArrayLike | None = None,
        client_ids: ArrayLike | None = None,
    ) -> None:
        """Keep a round's global `weights [d]` and `buffers [b]`, and its clients' `[k, d]`, `[k,
        b]`, ids `[k]`.

        Written at once to a file of its own that never changes; seen under /models from the next
        commit on.
        """
        self._check()
        if round in self._models:
            raise ValueError(f"weights: expected a round not saved before; got {round}")
        arrays = model_arrays(weights, buffers, clients, client_buffers, client_ids)
        about = {
            "format": MODEL_FORMAT,
            "format_version": FORMAT_VERSION,
            "run_id": self.run_id,
            "round": round,
        }
        image = model_image({**software(), **about}, arrays, self._fixed.layout)
        atomic.make_folder(self.folder / MODELS)
        atomic.write_hdf5(self.folder / MODELS / f"{model_name(round)}.h5", image, self.owner.check)
        self._models[round] = tuple(arrays)

    def checkpoint(
        self, round: int, server: Mapping[str, np.ndarray], parts: Sequence[Part]
    ) -> None:
        """Make a checkpoint of `server` and every rank's `checkpoint.write_part`, and commit the
        rows that go with it.

        Call it after `append(round, ...)`: what is not in the row by then, a resumed run will not
        know.
        """
        self._check()
        if self._rounds.last < round:
            raise ValueError(
                f"checkpoint: expected round {self._rounds.last} or before; got {round}"
            )
        self.commit()
        given = {
            "run_id": self.run_id,
            "config": str(self._attributes["config"]),
            "check": self.owner.check,
        }
        checkpoint.commit(self.folder, round, server, parts, **given)

    def commit(self) -> None:
        """Rewrite `results.h5` now."""
        self._check()
        start = time.monotonic()
        self._attributes["updated"] = timestamp()
        results = Results(
            self._attributes,
            self._fixed.provenance,
            self._fixed.layout,
            self._fixed.partition,
            self._rounds.columns(),
            self._clients.cohorts(len(self._rounds)),
            dict(sorted(self._models.items())),
            self._fixed.resumes,
        )
        atomic.write_hdf5(self.folder / RESULTS, results_image(results), self.owner.check)
        end = time.monotonic()
        pause = max(self._commit_seconds, _LEAST_WORK_PER_COMMIT * (end - start))
        self._next_commit = end + (pause if self._commit_seconds else 0.0)

    def close(self, status: str = "complete") -> None:
        """Commit for the last time, as `complete`, `stopped` or `failed`; a second close does
        nothing.
        """
        if status not in ("complete", "stopped", "failed"):
            raise ValueError(f"status: expected complete, stopped or failed; got {status!r}")
        if self._open:
            self._attributes["status"] = status
            self.commit()
            self._open = False

    def _check(self) -> None:
        if not self._open:
            raise RuntimeError(f"{self.folder}: this run is closed")
        self.owner.check()
