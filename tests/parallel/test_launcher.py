"""What launchers tell in the environment, in every form that they write."""

from __future__ import annotations

import pytest

from mpifl.options import BadInput
from mpifl.parallel import launcher, mismatch

VARIABLES = (
    "HYDI_CONTROL_FD",
    "OMPI_COMM_WORLD_SIZE",
    "PMIX_NAMESPACE",
    "PMI_SIZE",
    "SLURM_STEP_ID",
    "SLURM_STEP_NUM_TASKS",
)
MPICH = "MPICH Version: 5.0.2\nMPICH configure: --with-pm=hydra"
LIBRARIES = {
    "MPICH": (MPICH, False),
    "MPICH with PMIx": (f"{MPICH} --with-pmix=/opt/pmix", True),
    "Cray MPICH, which does not tell": ("MPI VERSION : CRAY MPICH version 8.1", True),
    "Open MPI": ("Open MPI v5.0.11, package: Open MPI", True),
}


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


@pytest.mark.parametrize("library", LIBRARIES)
def test_only_a_library_that_surely_cannot_start_under_pmix_is_refused(monkeypatch, library):
    version, starts = LIBRARIES[library]
    monkeypatch.setenv("PMIX_NAMESPACE", "prterun-1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert launcher.cannot_start(version) == (not starts)
    if starts:
        mismatch.refuse_mismatch(version)
    else:
        with pytest.raises(BadInput, match=r"^launcher: expected .* got mpirun of Open MPI\. Rem"):
            mismatch.refuse_mismatch(version)


def test_any_library_may_start_where_nothing_has_launched_it():
    for version, _ in LIBRARIES.values():
        mismatch.refuse_mismatch(version)
