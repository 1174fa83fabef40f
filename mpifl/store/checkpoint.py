"""Checkpoints: what a stopped run resumes from.

Each rank writes its clients' states; rank 0 writes the server's vectors, then the manifest.
RUN/checkpoint/round_000010.rank_0001.h5    client_ids [k], states/NAME [k, n]
RUN/checkpoint/round_000010.server.h5       server/NAME [n]: weights, buffers, the algorithm's state
RUN/checkpoint/manifest.json                files of the last two checkpoints, with size and CRC-32

The manifest is written last, so a crash at any moment leaves the previous checkpoint in place. If a
file of the newest checkpoint is damaged, `latest` falls back to the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from mpifl.options import BadInput
from mpifl.store import arrays, atomic, checksum, compatibility, datasets, manifest
from mpifl.store.arrays import Vectors, VectorSpec
from mpifl.store.contents import model_name
from mpifl.store.manifest import CheckpointEntry, Manifest, Part
from mpifl.store.run_folder import CHECKPOINT, MANIFEST

_DAMAGE = (OSError, KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError)
"""what reading a damaged file may raise"""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A complete checkpoint whose files are intact. Plain data: it may be sent to other ranks."""

    round: int
    """the last finished round"""
    run_id: str
    server: dict[str, np.ndarray]
    clients: Mapping[int, tuple[Path, int]]
    """file and row of each client's state"""
    warning: str = ""
    """why this is not the newest checkpoint, as a line to print; empty if it is"""

    def clients_held(self) -> list[int]:
        """The clients with a state here: those that have taken part in a round."""
        return sorted(self.clients)

    def state(self, client: int) -> dict[str, np.ndarray]:
        """A client's state; its vectors keep their order. Raises as `states` does."""
        [(_, state)] = self.states([client])
        return state

    def states(self, clients: Iterable[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Each client with its state, read one at a time, file by file: each file is opened once.

        Raises KeyError for a client without a state, BadInput if a file has gone or changed since.
        """
        rows_by_file: dict[Path, list[tuple[int, int]]] = {}
        for client in clients:
            path, row = self.clients[client]
            rows_by_file.setdefault(path, []).append((row, client))
        for path in sorted(rows_by_file):
            yield from _read_states(path, sorted(rows_by_file[path]))


def write_part(
    folder: Path,
    round: int,
    rank: int,
    states: Mapping[int, Vectors],
    check: atomic.Check | None = None,
) -> Part:
    """Write the states of one rank's clients after `round`. `commit` needs the parts of all ranks.

    All states have the same names, shapes and dtypes, else ValueError. They are written client by
    client, without a second copy in memory. `check` is the store's `owner.check`: it is called
    before the rename and may refuse by raising. Raises OSError that names the file.
    """
    clients = tuple(sorted(states))
    stacked = {}
    for name, spec in arrays.common_specs(states).items():
        stacked[name] = VectorSpec((len(clients), *spec.shape), spec.dtype)

    def fill(file: h5py.File) -> None:
        file["client_ids"] = np.array(clients, "i8")
        for name, dataset in arrays.create_datasets(file, "states", stacked).items():
            for row, client in enumerate(clients):
                dataset[row] = states[client][name]

    name = f"{model_name(round)}.rank_{rank:04d}.h5"
    attributes = {**_format(), "round": round, "rank": rank}
    size, crc32 = arrays.write(_make_place(folder) / name, attributes, stacked, fill, check)
    return Part(name, size, crc32, clients)


def commit(
    folder: Path,
    round: int,
    server: Vectors,
    parts: Sequence[Part],
    *,
    run_id: str,
    config: str,
    check: atomic.Check | None = None,
) -> None:
    """Write the server's vectors, then the manifest, then remove older checkpoints but one.

    The manifest makes the server's file and `parts` the newest checkpoint. `config` is the run's
    TOML text; `check` is called before each rename and may refuse by raising.
    """
    folder = Path(folder)
    _check_parts(round, parts)
    specs = arrays.common_specs({0: server})

    def fill(file: h5py.File) -> None:
        for name, dataset in arrays.create_datasets(file, "server", specs).items():
            dataset[...] = server[name]

    name = f"{model_name(round)}.server.h5"
    attributes = {**_format(), "round": round, "run_id": run_id}
    size, crc32 = arrays.write(_make_place(folder) / name, attributes, specs, fill, check)
    entry = CheckpointEntry(round, compatibility.digest(config), (Part(name, size, crc32), *parts))
    before = _own_checkpoints(folder, run_id)
    earlier = [old for old in before if old.round < round]
    listed = Manifest(run_id, (entry, *earlier[:1]))
    manifest.write(folder, listed, check)
    manifest.prune(folder, listed.entries, before, round)


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all intact; None if none was ever committed.

    Reads its files whole. If there are checkpoints but none is intact, raises BadInput that says
    what is wrong with each.
    """
    folder = Path(folder)
    while True:
        listed = manifest.read(folder)
        if listed is None or not listed.entries:
            return None
        damages: list[str] = []
        for entry in listed.entries:
            try:
                found = _read(folder, listed.run_id, entry)
            except _DAMAGE as problem:
                damages.append(f"round {entry.round}: {_one_line(problem)}")
            else:
                return replace(found, warning=_warning(folder, entry.round, damages))
        if manifest.read(folder) == listed:
            raise BadInput(
                f"{folder / CHECKPOINT}: expected a whole checkpoint; "
                f"got only damaged ones: {'; '.join(damages)}"
            )
        # a live writer has committed another checkpoint and removed the files listed before: retry


def check_run(folder: Path, round: int, run_id: str, config: str) -> None:
    """Raise BadInput unless this run wrote a checkpoint of `round` with this config.

    Where no checkpoint is listed, or for round 0, there is nothing to check.
    """
    path = folder / CHECKPOINT / MANIFEST
    listed = manifest.read(folder)
    if listed is None or not listed.entries or round == 0:
        return
    if listed.run_id != run_id:
        raise BadInput(
            f"{path}: expected checkpoints of run {run_id}; got those of run {listed.run_id}"
        )
    entries = {entry.round: entry for entry in listed.entries}
    if round not in entries:
        raise BadInput(
            f"{path}: expected a checkpoint of round {round}; "
            f"got only those of rounds {sorted(entries)}"
        )
    if entries[round].config not in compatibility.digests(config):
        raise BadInput(
            f"{path}: expected a checkpoint of the run's own config; got one of another config"
        )


def _read(folder: Path, run_id: str, entry: CheckpointEntry) -> Checkpoint:
    """Check the files of a checkpoint, and read the server's."""
    manifest.check_files(folder, entry)
    place = folder / CHECKPOINT
    with checksum.opened(place / entry.parts[0].name) as file:
        server = {name: datasets.whole(dataset) for name, dataset in file["server"].items()}
    clients = {}
    for part in entry.parts:
        for row, client in enumerate(part.clients):
            clients[client] = (place / part.name, row)
    return Checkpoint(entry.round, run_id, server, clients)


def _read_states(
    path: Path, rows: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The states in one file, of (row, client) pairs."""
    _, client = rows[0]
    try:
        with checksum.opened(path) as file:
            stored = dict(file["states"].items())
            for dataset in stored.values():
                datasets.check(dataset)
            for row, client in rows:
                state = {name: np.asarray(dataset[row]) for name, dataset in stored.items()}
                yield client, state
    except _DAMAGE as problem:
        raise BadInput(
            f"{path}: expected the state of client {client}; got {_one_line(problem)}"
        ) from problem


def _warning(folder: Path, round: int, damages: Sequence[str]) -> str:
    if not damages:
        return ""
    return f"{folder / CHECKPOINT}: going back to round {round}; damaged: {'; '.join(damages)}"


def _make_place(folder: Path) -> Path:
    place = Path(folder) / CHECKPOINT
    atomic.make_folder(place)
    return place


def _format() -> dict[str, str | int]:
    return {"format": manifest.FORMAT, "format_version": manifest.FORMAT_VERSION}


def _own_checkpoints(folder: Path, run_id: str) -> tuple[CheckpointEntry, ...]:
    """The run's checkpoints, newest first; none if the manifest is damaged or another run's."""
    try:
        listed = manifest.read(folder)
    except BadInput:
        return ()
    if listed is None or listed.run_id != run_id:
        return ()
    return listed.entries


def _check_parts(round: int, parts: Sequence[Part]) -> None:
    """Raise ValueError unless the parts are of this round, one a rank, without a client twice."""
    clients: list[int] = []
    for part in parts:
        clients.extend(part.clients)
    if len(set(clients)) != len(clients):
        raise ValueError(
            "checkpoint: expected each client's state from one rank; got some from several"
        )
    names = [part.name for part in parts]
    of_round = all(name.startswith(f"{model_name(round)}.rank_") for name in names)
    if len(set(names)) != len(names) or not of_round:
        raise ValueError(f"checkpoint: expected one part a rank, of round {round}; got {names}")


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split())
