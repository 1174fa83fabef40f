"""The batch files of `mpifl jobs`, on a real Slurm: they need no checkout and no variable."""

from __future__ import annotations

import pytest
from slurm.account import SRUN

from mpifl.store import Run

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.long]


def test_files_written_to_any_folder_train_and_measure_and_make_a_table(account):
    clean = ("env", "-u", "MPIFL_JOBS", "-u", "VENV")
    account.type(SRUN, *clean, "mpifl", "jobs", "--out", "my files")
    chain = account.folder / "my files" / "chain.sh"
    options = ("TRAIN=-n2", "HESSIAN=-c1")
    told = account.type(SRUN, *clean, *options, chain, "config.toml", "run", "rounds=2")
    for part in told.split(", "):
        account.ends(part.split()[1], "COMPLETED")
    assert Run.open(account.folder / "run").status == "complete"
    assert "λ_max" in (account.folder / "run" / "table.md").read_text()
