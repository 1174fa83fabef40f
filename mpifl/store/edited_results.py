"""Resume although another program has opened `results.h5`: seal it, and keep the old one aside."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import h5py

from mpifl.options import BadInput
from mpifl.store import checksum, compatibility, readable, reseal, run_folder
from mpifl.store.arrays import sha256
from mpifl.store.checkpoint import Checkpoint
from mpifl.store.run_folder import RESULTS


def accept(folder: Path, found: Checkpoint, config: str) -> str:
    """Seal the results in `folder` if they were edited. Returns a line that says so, or "".

    The results must be those of the checkpoint: its run, and its weights by their SHA-256; and
    `config` (TOML text) must be one to resume it with. The file as it was is kept beside it. Raises
    BadInput, before anything is changed, for others, and for a file that libhdf5 cannot read whole.
    """
    file = folder / RESULTS
    if not are_edited(folder):
        return ""
    readable.check(file)
    _check_belongs(file, found, config)
    aside = run_folder.keep_aside(file, "edited")
    try:
        reseal.reseal(file)
    except BaseException:
        aside.unlink()
        raise
    return (
        f"{file} was edited or opened for writing by another program: it agrees with the "
        f"checkpoint, and is kept as {aside.name}"
    )


def are_edited(folder: Path) -> bool:
    """Whether another program has opened the results in `folder` for writing."""
    with suppress(OSError, BadInput):  # whatever else is wrong is told when the run is opened
        try:
            checksum.verify(folder / RESULTS)
        except checksum.EditedFile:
            return True
    return False


def _check_belongs(file: Path, found: Checkpoint, config: str) -> None:
    """Raise BadInput unless edited results are those of the checkpoint and of this config."""
    expected = sha256(found.server["w"], found.server["buffers"])
    try:
        with h5py.File(file, "r", locking=False) as content:
            run_id = str(content.attrs["run_id"])
            stored_config = str(content.attrs["config"])
            rounds = content["rounds/round"][...].tolist()
            digests = content["rounds/sha256"].asstr()[...].tolist()
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as problem:
        raise BadInput(
            f"{file}: expected the results of a run; got others: {' '.join(str(problem).split())}"
        ) from problem
    compatibility.check_same(str(file.parent), stored_config, config)
    digest = dict(zip(rounds, digests, strict=False)).get(found.round)
    if run_id != found.run_id or digest != expected:
        raise BadInput(
            f"{file}: edited by another program; expected the results of run {found.run_id} with "
            f"the checkpoint's weights after round {found.round}; got others"
        )
