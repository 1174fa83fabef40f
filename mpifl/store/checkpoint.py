"""Checkpoints: what a run goes on from. Each rank writes its clients' states, rank 0 the server's
and the commit.

RUN/checkpoint/round_000010.rank_0001.h5    client_ids [k], states/NAME [k, n]
RUN/checkpoint/round_000010.server.h5       NAME [n]: weights, buffers, the algorithm's state
RUN/checkpoint/manifest.json                written last: the files of the last two checkpoints, with size and CRC-32

A crash at any moment leaves the checkpoint before; damage to the newest one is noticed and the one
before taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np

from mpifl.options import BadInput
from mpifl.store import arrays, atomic, checksum, compatibility, manifest
from mpifl.store.arrays import Vectors
from mpifl.store.hdf5_layout import model_name
from mpifl.store.manifest import Entry, Manifest, Part
from mpifl.store.run_folder import CHECKPOINT, MANIFEST

_DAMAGE = (OSError, KeyError, RuntimeError, ValueError)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A complete checkpoint whose files were found sound. Plain data: it may be sent to other
    ranks.
    """

    round: int
    """the last round that is done"""
    run_id: str
    server: dict[str, np.ndarray]
    clients: Mapping[int, tuple[Path, int]]
    """file and row of each client's state"""
    warning: str = ""
    """why this is not the newest checkpoint, to be printed; empty if it is"""

    def clients_held(self) -> list[int]:
        """The clients whose states are here: those that have played."""
        return sorted(self.clients)

    def state(self, client: int) -> dict[str, np.ndarray]:
        """A client's state, its vectors in the order in which they were given. Raises as `states`
        does.
        """
        [(_, state)] = self.states([client])
        return state

    def states(self, clients: Iterable[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Clients with their states, file by file: one after the other is read, and each file
        opened once.

        Raises KeyError for a client that has none, BadInput if a file has gone since.
        """
        places = sorted((*self.clients[client], client) for client in clients)
        for path, those in groupby(places, key=lambda place: place[0]):
            rows = [(row, client) for _, row, client in those]
            client = rows[0][1]
            try:
                with checksum.opened(path) as file:
                    datasets = dict(file["states"].items())
                    for row, client in rows:
                        yield (
                            client,
                            {name: np.asarray(dataset[row]) for name, dataset in datasets.items()},
                        )
            except _DAMAGE as problem:
                raise BadInput(
                    f"{path}: expected the state of client {client}; got {_one_line(problem)}"
                ) from problem


def write_part(
    folder: Path,
    round: int,
    rank: int,
    states: Mapping[int, Vectors],
    check: Callable[[], None] | None = None,
) -> Part:
    """Write one rank's clients' states after `round`: same names, shapes and dtypes for all, or
    ValueError.

    Returns what `commit` wants of every rank. Goes client by client: no second copy of the states
    is made. `check` (the store's `owner.check`) is called before the rename. Raises OSError naming
    the file.
    """
    like = arrays.common(states)
    stacked = {name: ((len(states), *shape), dtype) for name, (shape, dtype) in like.items()}
    clients = tuple(sorted(states))

    def fill(file: h5py.File) -> None:
        file["client_ids"] = np.array(clients, "i8")
        for name, dataset in arrays.datasets(file, "states", stacked).items():
            for row, client in enumerate(clients):
                dataset[row] = states[client][name]

    name = f"{model_name(round)}.rank_{rank:04d}.h5"
    about = {**_about(), "round": round, "rank": rank}
    return Part(name, *arrays.write(_place(folder) / name, about, stacked, fill, check), clients)


def commit(
    folder: Path,
    round: int,
    server: Vectors,
    parts: Sequence[Part],
    *,
    run_id: str,
    config: str,
    check: Callable[[], None] | None = None,
) -> None:
    """Write the server's vectors, then the manifest that makes them and `parts` the newest
    checkpoint, then prune.

    `config` is the run's TOML text; `check` is called before each rename and may still refuse by
    raising.
    """
    folder = Path(folder)
    _check_parts(round, parts)
    like = arrays.common({0: server})

    def fill(file: h5py.File) -> None:
        for name, dataset in arrays.datasets(file, "server", like).items():
            dataset[...] = server[name]

    name = f"{model_name(round)}.server.h5"
    about = {**_about(), "round": round, "run_id": run_id}
    own = Part(name, *arrays.write(_place(folder) / name, about, like, fill, check))
    entry = Entry(round, compatibility.digest(config), (own, *parts))
    now = Manifest(run_id, (entry, *_before(folder, round, run_id)))
    manifest.write(folder, now, check)
    manifest.prune(folder, now.entries, round)


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all sound, None if none was ever committed; reads every
    file of it.

    Raises BadInput, saying what is wrong with each, if there are checkpoints but no sound one.
    """
    folder = Path(folder)
    while (listed := manifest.read(folder)) and listed.entries:
        damages: list[str] = []
        for entry in listed.entries:
            try:
                if not (damage := manifest.damage(folder, entry)):
                    return _opened(folder, listed.run_id, entry, damages)
            except _DAMAGE as problem:
                damage = _one_line(problem)
            damages.append(f"round {entry.round}: {damage}")
        # else a live writer has gone on, and pruned what we were to read
        if listed == manifest.read(folder):
            what = "; ".join(damages)
            raise BadInput(
                f"{folder / CHECKPOINT}: expected a whole checkpoint; got only damaged ones: {what}"
            )
    return None


def check_run(folder: Path, round: int, run_id: str, config: str) -> None:
    """Raise BadInput if the folder's checkpoints are another run's or config's, or not of `round`
    (but 0).
    """
    path, listed = folder / CHECKPOINT / MANIFEST, manifest.read(folder)
    if listed is None or round == 0:
        return
    if listed.run_id != run_id:
        raise BadInput(
            f"{path}: expected checkpoints of run {run_id}; got those of run {listed.run_id}"
        )
    entries = {entry.round: entry for entry in listed.entries}
    if round not in entries:
        raise BadInput(
            f"{path}: expected a checkpoint of round {round}; got only those of rounds {sorted(entries)}"
        )
    if entries[round].config != compatibility.digest(config):
        raise BadInput(
            f"{path}: expected a checkpoint of the run's own config; got one of another config"
        )


def _opened(folder: Path, run_id: str, entry: Entry, damages: list[str]) -> Checkpoint:
    place = folder / CHECKPOINT
    with checksum.opened(place / entry.parts[0].name) as file:
        server = {name: dataset[()] for name, dataset in file["server"].items()}
    server = {name: np.asarray(vector) for name, vector in server.items()}
    clients = {
        c: (place / part.name, row) for part in entry.parts for row, c in enumerate(part.clients)
    }
    warning = (
        f"{place}: going back to round {entry.round}; damaged: {'; '.join(damages)}"
        if damages
        else ""
    )
    return Checkpoint(entry.round, run_id, server, clients, warning)


def _place(folder: Path) -> Path:
    place = Path(folder) / CHECKPOINT
    atomic.make_folder(place)
    return place


def _about() -> dict[str, str | int]:
    return {"format": manifest.FORMAT, "format_version": manifest.FORMAT_VERSION}


def _before(folder: Path, round: int, run_id: str) -> tuple[Entry, ...]:
    """The newest checkpoint of an earlier round, to fall back to; none if the manifest is damaged."""
    try:
        listed = manifest.read(folder)
    except BadInput:
        return ()
    entries = listed.entries if listed and listed.run_id == run_id else ()
    return tuple(entry for entry in entries if entry.round < round)[:1]


def _check_parts(round: int, parts: Sequence[Part]) -> None:
    clients = [client for part in parts for client in part.clients]
    if len(set(clients)) != len(clients):
        raise ValueError(
            "checkpoint: expected each client's state from one rank; got some from several"
        )
    names = [part.name for part in parts]
    if len(set(names)) != len(names) or not all(
        name.startswith(f"{model_name(round)}.rank_") for name in names
    ):
        raise ValueError(f"checkpoint: expected one part a rank, of round {round}; got {names}")


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split())
