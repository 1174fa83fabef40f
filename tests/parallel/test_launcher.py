"""What launchers tell in the environment, in every form that they write."""

from __future__ import annotations

import pytest

from mpifl.parallel import launcher

VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS")


@pytest.fixture(autouse=True)
def not_launched(monkeypatch):
    for variable in (*VARIABLES, *launcher.RANKS):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(("text", "ranks"), [("3", 3), ("", None), ("0", None), ("no", None)])
@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_the_number_of_ranks_is_what_a_launcher_says_or_unknown(monkeypatch, variable, text, ranks):
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setenv(variable, text)
    assert launcher.ranks() == ranks
