"""Resume although `results.h5` is damaged: begin it anew at the checkpoint, and keep the old one.

Nothing in a damaged file can be trusted. So the rows of the rounds before the checkpoint are lost;
weights are not, which have files of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from mpifl.flat_layout import Entry
from mpifl.options import BadInput
from mpifl.store import atomic, checkpoint, checksum, model_files, run_folder
from mpifl.store.arrays import DIMENSIONS
from mpifl.store.attributes import Attributes
from mpifl.store.checkpoint import Checkpoint
from mpifl.store.contents import (
    LOST_UNTIL,
    OTHER_SCHEDULE,
    OTHER_SCHEDULE_UNTIL,
    Results,
    model_file,
    partition_arrays,
    run_attributes,
    timestamp,
)
from mpifl.store.evaluations import Holdout, holdout_arrays
from mpifl.store.hdf5_layout import results_image
from mpifl.store.plugin_texts import StoredPlugin
from mpifl.store.round_tables import Cohorts, RoundTable
from mpifl.store.run_folder import RESULTS


def damage(folder: Path) -> str:
    """How the results in `folder` are damaged or cut short, in words; "" if they are not.

    Files that were only edited are not damaged: `edited_results` accepts them.
    """
    with suppress(OSError):
        try:
            checksum.verify(folder / RESULTS)
        except checksum.EditedFile:
            return ""
        except checksum.InvalidFile as problem:
            return problem.what
    return ""


def begin_anew(
    folder: Path,
    found: Checkpoint,
    *,
    config: str,
    seed: int,
    layout: Sequence[Entry],
    partition: tuple[np.ndarray, np.ndarray, np.ndarray],
    holdout: Holdout | None,
    provenance: Attributes,
    rounds: int,
    plugins: Sequence[StoredPlugin] = (),
) -> str:
    """Replace damaged results by new ones, without rows. Returns a line that says so, or "".

    `config` is the TOML text of the run that resumes, which is to have `rounds`; partition,
    holdout, provenance and plugins are its own. Raises BadInput, before anything is changed, if the
    checkpoint has another config or was the last, so that no round would have a row.
    """
    what = damage(folder)
    if not what:
        return ""
    file = folder / RESULTS
    checkpoint.check_run(folder, found.round, found.run_id, config)
    if found.round >= rounds:
        raise BadInput(
            f"{file}: expected the results of {rounds} rounds; got {what}, and no round left to "
            "train; allowed: more rounds with --resume, whose rows are then stored, or --force to "
            "begin again"
        )
    clients = len(partition[1]) - 1
    text = f"after round {found.round} beside a damaged {RESULTS}, whose rows are lost"
    attributes = {
        **run_attributes(config, seed),
        "run_id": found.run_id,
        "updated": timestamp(),
        LOST_UNTIL: found.round,
        OTHER_SCHEDULE: text,
        OTHER_SCHEDULE_UNTIL: found.round,
    }
    results = Results(
        attributes=attributes,
        provenance=dict(provenance),
        layout=layout,
        partition=partition_arrays(partition, clients),
        rounds=RoundTable().columns(),
        clients=Cohorts(clients),
        models=_saved_models(file, found),
        holdout=holdout_arrays(holdout),
        plugins=plugins,
    )
    aside = run_folder.keep_aside(file, "damaged")
    atomic.write_hdf5(file, results_image(results))
    return (
        f"warning: {file} was {what}: it is kept as {aside.name}, and the rows of rounds 1 to "
        f"{found.round} are lost; whether data and partition are the same cannot be checked"
    )


def _saved_models(file: Path, found: Checkpoint) -> dict[int, tuple[str, ...]]:
    """The names of the arrays in each sound file of weights of this run, by its round."""
    models = {}
    for round in range(found.round + 1):
        name = model_file(round)
        with suppress(BadInput), model_files.opened(file, name, round, found.run_id) as content:
            models[round] = tuple(key for key in content if key in DIMENSIONS)
    return models
