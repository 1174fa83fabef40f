"""Store: the one writer of a run folder, held by rank 0. Readers may open it at any time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from mpifl.flat_layout import Entry
from mpifl.options import BadInput
from mpifl.store import atomic, checkpoint, compatibility, manifest, model_files, run_folder
from mpifl.store.arrays import model_arrays
from mpifl.store.contents import Results, partition_arrays, run_attributes, timestamp
from mpifl.store.evaluations import EvaluationTable, Holdout, holdout_arrays
from mpifl.store.hdf5_layout import Attributes, results_image
from mpifl.store.manifest import Part
from mpifl.store.plugin_texts import StoredPlugin
from mpifl.store.resume import Resuming, load_stopped, results_after
from mpifl.store.round_tables import ClientTable, Cohorts, RoundTable, Value
from mpifl.store.run_folder import RESULTS, Owner
from mpifl.store.timeline import TimelineTable

_PAUSE_PER_COMMIT = 20
"""the shortest pause after a commit, in its own durations: commits take at most 5 % of the time"""


class Store:
    """A run being written: rows are kept in memory; each commit rewrites the small `results.h5`.

    `append` commits if `commit_seconds` have passed since the last commit (0: always), and less
    often if commits are slow. Every write is atomic; a refused one raises OSError with the path,
    and what was committed stays readable. All methods raise Superseded once another process has
    taken over the folder.
    """

    def __init__(self, folder: Path, owner: Owner, results: Results, commit_seconds: float) -> None:
        """Use `create` or `resume`; they pass the claimed `owner` and the first `results`."""
        self.folder = folder
        self.owner = owner
        self._attributes = dict(results.attributes)
        self._fixed = results
        self._rounds = RoundTable(results.rounds)
        self._clients = ClientTable(results.clients)
        self._evaluations = EvaluationTable(results.evaluations)
        self._timeline = TimelineTable(results.timeline)
        self._models = {round: tuple(names) for round, names in results.models.items()}
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
        provenance: Attributes,
        holdout: Holdout | None = None,
        plugins: Sequence[StoredPlugin] = (),
        force: bool = False,
        commit_seconds: float = 10.0,
    ) -> Store:
        """Make the run folder, with a `results.h5` without rounds.

        `config` is the run's TOML text, `layout` says where each tensor lies in the flat vectors,
        `partition` is a Partition or its three arrays; `holdout` is what never trains, `plugins`
        are the user's own code. `force` replaces an earlier run: the files of that run are removed,
        all others stay.

        Raises BadInput, before anything is made, if the folder is not free or cannot be written.
        """
        folder = Path(folder)
        run_folder.check_free(folder, force)
        results = Results(
            attributes=run_attributes(config, seed),
            provenance=dict(provenance),
            layout=layout,
            partition=partition_arrays(partition, clients),
            rounds={},
            clients=Cohorts(clients),
            models={},
            holdout=holdout_arrays(holdout),
            plugins=plugins,
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise BadInput(
                f"{folder}: expected a place to write; got {problem.strerror}"
            ) from problem
        store = cls(folder, Owner.claim(folder), results, commit_seconds)
        try:
            run_folder.remove_run(folder)
            store.commit()
            manifest.begin(folder, store.run_id, store.owner.check)
        except run_folder.Superseded:  # the folder is another writer's
            raise
        except BaseException:
            run_folder.abandon(folder)
            raise
        return store

    @classmethod
    def resume(
        cls,
        folder: Path,
        *,
        config: str,
        layout: Sequence[Entry],
        partition: tuple[np.ndarray, np.ndarray, np.ndarray],
        round: int,
        provenance: Attributes,
        marks: Attributes = MappingProxyType({}),
        plugins: Sequence[StoredPlugin] = (),
        commit_seconds: float = 10.0,
    ) -> Store:
        """Take over a run after `round`, that of its checkpoint. Later rounds are removed.

        `config`, `partition` and `provenance` are those of the resumed run, `marks` its attributes
        about other schedules. Raises BadInput, before
        anything is changed, unless the folder holds this run: the same data, partition and layout,
        and a config that differs only in options that may change (see `compatibility`).
        """
        resuming = Resuming(config, layout, partition, provenance, marks, plugins)
        folder = load_stopped(Path(folder), resuming, round).path
        owner = Owner.claim(folder)
        # again: until now another writer may have added to it
        run = load_stopped(folder, resuming, round)
        results = results_after(run, resuming, round)
        store = cls(folder, owner, results, commit_seconds)
        digests = compatibility.digests(run.config)
        manifest.forget_after(folder, round, digests, compatibility.digest(config), owner.check)
        run_folder.clear_unfinished(folder)
        store.commit()
        manifest.begin(folder, store.run_id, owner.check)
        return store

    @property
    def run_id(self) -> str:
        return str(self._attributes["run_id"])

    @property
    def rounds(self) -> Mapping[str, np.ndarray]:
        """The columns of /rounds so far, as in `Run.rounds`."""
        return self._rounds.columns()

    def last_row(self) -> dict[str, Value]:
        """The last row of /rounds: each column that it has, and its value."""
        return self._rounds.last_row

    @property
    def saved_rounds(self) -> list[int]:
        """The rounds whose weights are stored."""
        return sorted(self._models)

    def append(
        self,
        round: int,
        row: Mapping[str, Value],
        clients: Mapping[str, ArrayLike],
        ids: ArrayLike,
        counts: Mapping[str, np.ndarray] = MappingProxyType({}),
        timeline: Mapping[str, np.ndarray] = MappingProxyType({}),
    ) -> None:
        """Add a round. May commit.

        `row` has a value for each column of /rounds; `clients` has arrays (k) for /clients, one
        value for each client in `ids` (k); `counts` are those of its evaluation; `timeline` has
        arrays (ranks) of seconds. Raises ValueError or TypeError for values that do not fit; then
        nothing has changed.
        """
        self._check()
        self._clients.put(len(self._rounds), clients, ids)
        self._rounds.append(round, row)
        self._append_counts(round, counts)
        if timeline:
            self._timeline.append(round, timeline)
        self._commit_if_due()

    def add_evaluation(
        self, round: int, row: Mapping[str, Value], counts: Mapping[str, np.ndarray]
    ) -> None:
        """Add to the last round what its evaluation has found, after it was appended without.

        May commit. `row` and `counts` are as in `append`. Raises ValueError for another round than
        the last, and for values that it has already; then nothing has changed.
        """
        self._check()
        self._rounds.add(round, row)
        self._append_counts(round, counts)
        self._commit_if_due()

    def describe(self, attributes: Attributes) -> None:
        """Add attributes to the run, with the next commit; those that it has stay."""
        self._check()
        self._attributes = {**attributes, **self._attributes}

    def has_weights(self, round: int) -> bool:
        """Whether the weights of a round are stored."""
        return round in self._models

    def weights(
        self,
        round: int,
        weights: ArrayLike,
        buffers: ArrayLike = (),
        clients: ArrayLike | None = None,
        client_buffers: ArrayLike | None = None,
        client_ids: ArrayLike | None = None,
        frozen: ArrayLike | None = None,
        average: ArrayLike | None = None,
    ) -> None:
        """Store a round's global `weights [d]` and `buffers [b]`, and those of its clients.

        Round 0 may have the weights that never change, `frozen [f]`; any round the server's second
        model, `average [d]`.

        The clients' are weights `[k, d]`, buffers `[k, b]` and ids `[k]`. They are written at once,
        to a file of their own that never changes; readers see them from the next commit on.
        """
        self._check()
        if round in self._models:
            raise ValueError(f"weights: expected a round not saved before; got {round}")
        arrays = model_arrays(
            weights, buffers, clients, client_buffers, client_ids, frozen, average
        )
        model_files.write(
            self.folder, round, arrays, self._fixed.layout, self.run_id, self.owner.check
        )
        self._models[round] = tuple(arrays)

    def checkpoint(
        self, round: int, server: Mapping[str, np.ndarray], parts: Sequence[Part]
    ) -> None:
        """Commit a checkpoint of the server's vectors and every rank's `checkpoint.write_part`.

        The rows that belong to it are committed too. Call it after `append(round, ...)`: a resumed
        run has the rows that were there by then.
        """
        self._check()
        if self._rounds.last < round:
            raise ValueError(
                f"checkpoint: expected round {self._rounds.last} or before; got {round}"
            )
        self.commit()
        checkpoint.commit(
            self.folder,
            round,
            server,
            parts,
            run_id=self.run_id,
            config=str(self._attributes["config"]),
            check=self.owner.check,
        )

    def commit(self) -> None:
        """Rewrite `results.h5` now."""
        self._check()
        start = time.monotonic()
        self._attributes["updated"] = timestamp()
        results = replace(
            self._fixed,
            attributes=self._attributes,
            rounds=self._rounds.columns(),
            clients=self._clients.cohorts(len(self._rounds)),
            models=dict(sorted(self._models.items())),
            evaluations=self._evaluations.arrays(),
            timeline=self._timeline.arrays(),
        )
        atomic.write_hdf5(self.folder / RESULTS, results_image(results), self.owner.check)
        end = time.monotonic()
        pause = 0.0
        if self._commit_seconds:
            pause = max(self._commit_seconds, _PAUSE_PER_COMMIT * (end - start))
        self._next_commit = end + pause

    def close(self, status: str = "complete") -> None:
        """Commit for the last time, as `complete`, `stopped` or `failed`.

        A second close does nothing.
        """
        if status not in ("complete", "stopped", "failed"):
            raise ValueError(f"status: expected complete, stopped or failed; got {status!r}")
        if self._open:
            self._attributes["status"] = status
            self.commit()
            self._open = False

    def _append_counts(self, round: int, counts: Mapping[str, np.ndarray]) -> None:
        if counts:
            self._evaluations.append(round, counts)

    def _commit_if_due(self) -> None:
        if time.monotonic() >= self._next_commit:
            self.commit()

    def _check(self) -> None:
        """Raise unless this store may still write."""
        if not self._open:
            raise RuntimeError(f"{self.folder}: this run is closed")
        self.owner.check()
