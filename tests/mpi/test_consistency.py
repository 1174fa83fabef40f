"""Ranks with different inputs are named before the first round, and nothing is written."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from mpi.calls import differing
from mpi.job import MPIS
from mpi.running import written

from mpifl import __version__
from mpifl.store import Run

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("mpi", MPIS)
def test_a_rank_that_differs_is_named_with_its_host_and_the_difference(job, tmp_path, mpi):
    config = written(
        tmp_path,
        rounds=1,
        model={"name": "mlp", "hidden": [32]},
        algorithm={"name": "fedavg"},
        plugins=[str(EXAMPLES / "confidence.py")],
    )
    host = socket.gethostname()
    said, *others = job(mpi).call(3, differing.told, str(config), tmp_path)
    assert others == [said] * 2
    start, end = (
        f"rank 2 on {host}: ",
        " (so with 1 of 3 ranks); give all ranks the same config, data and software",
    )
    assert said.pop("threads") == ""  # ranks may compute with more or fewer
    assert all(line.startswith(start) and line.endswith(end) for line in said.values()), said
    told = {case: line.removeprefix(start).removesuffix(end) for case, line in said.items()}
    assert told["option"] == f"local.lr: expected 0.05, as rank 0 on {host} has; got 0.2"
    assert (
        told["algorithm"]
        == f"algorithm.name: expected 'fedavg', as rank 0 on {host} has; got 'scaffold'"
    )
    assert (
        told["version"]
        == f"version of mpifl: expected {__version__}, as rank 0 on {host} has; got 0.0.0"
    )
    assert told["plugins"].startswith("plugins: expected ['confidence.py@")
    assert f", as rank 0 on {host} has; got ['confidence.py@" in told["plugins"]
    assert told["data"].startswith("checksum of the data: expected ")
    assert told["partition"].startswith("SHA-256 of the partition: expected ")
    assert "shape (32, 64) at 0, as rank 0" in told["layout"]
    assert told["layout"].endswith("got shape (33, 64) at 0")
    assert (
        told["type"] == f"type of the weights: expected torch.float32, as rank 0 on {host} has; "
        "got torch.float64"
    )


@pytest.mark.parametrize(
    ("kinds", "where", "is_told"),
    [
        (["AMD", "AMD", "Intel"], "auto", True),
        (["Intel", "AMD", "AMD"], "auto", True),
        (["Intel", "AMD", "AMD"], "server", False),
        (["AMD", "AMD", "AMD"], "auto", False),
    ],
    ids=["a worker", "the server", "the server, which alone tests", "none"],
)
def test_ranks_with_other_processors_are_told_before_the_first_round(
    job, tmp_path, kinds, where, is_told
):
    config = written(tmp_path, rounds=1, evaluation={"where": where})
    printed, *_ = job("mpich").call(3, differing.with_processors, config, tmp_path / "run", kinds)
    told = "note: ranks compute on different devices (CPU AMD; CPU Intel)"
    assert (told in printed) == is_told
    assert Run.open(tmp_path / "run").provenance["processor"] == kinds
