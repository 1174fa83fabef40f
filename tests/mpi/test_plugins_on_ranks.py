"""A run with all plugins of examples/ resumes on other ranks, is measured on ranks, and packed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from mpi.calls import examples, runs
from mpi.job import MPICH

from mpifl.cli import main
from mpifl.runner import plugins
from mpifl.store import Run
from mpifl.store.measurements import Findings

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ("local.steps=2", "data={name='digits', train_limit=200, test_limit=50}")


@pytest.fixture
def folder(elsewhere) -> Path:
    """The working directory, with copies of the examples."""
    for path in EXAMPLES.glob("*.*"):
        shutil.copy(path, elsewhere)
    return elsewhere


def command(*words: str) -> None:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, done.output


@MPICH
def test_a_run_with_all_of_them_resumes_on_three_ranks_and_is_measured_on_two(job, folder):
    command("run", "demo.toml", *SMALL, "rounds=4", "--out", "whole")
    command("run", "demo.toml", *SMALL, "rounds=2", "--out", "parts")
    more = [*SMALL, "rounds=4"]
    call = job("mpich").call
    code, said = call(3, runs.run, folder / "demo.toml", folder / "parts", more, True)[0]
    assert code == 0, said
    digests = [Run.open(name).rounds["sha256"].tolist() for name in ("whole", "parts")]
    assert digests[0] == digests[1]

    command("pack", "parts", "-o", "packed.h5")
    models = call(2, examples.measure, folder / "packed.h5", "on-ranks")
    assert models == ["Patches", "Patches"]
    command("hessian", "packed.h5", "--samples", "50", "--quantities", "objective")
    found = Findings.open(Run.open("packed.h5"))
    [alone] = found.under("exact").values()
    [on_ranks] = found.under("on-ranks").values()
    assert on_ranks.arrays["loss"] == pytest.approx(alone.arrays["loss"], rel=1e-6)
    plugins.use(())
