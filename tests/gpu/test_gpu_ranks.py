"""Ranks and lanes that share one GPU: the same bits at any number of them, a rank killed in a
captured step, and resuming after that.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import tomli_w
from mpi.launch import launch
from mpi.running import columns

from mpifl.store import Run

PROGRAM = Path(__file__).parent / "programs" / "killed_in_step.py"
CONFIG = {
    "seed": 4,
    "rounds": 6,
    "clients": 6,
    "participation": {"fraction": 0.8},
    "data": {
        "name": "synthetic",
        "options": {"shape": [3, 8, 8], "train": 240, "test": 40},
        "augment": {"crop": 2, "flip": 0.5},
    },
    "partition": {"name": "dirichlet", "alpha": 0.5, "minimum": 16},
    "model": {"name": "resnet20", "norm": "batch"},
    "algorithm": {"name": "scaffold"},
    "local": {"lr": 0.05, "batch": 8, "momentum": 0.9, "momentum_state": "persist"},
    "results": {"checkpoint_rounds": 1, "commit_seconds": 0.0},
}
SECONDS = 120
KILLED_AT = 25
"""replayed steps of rank 1, which has about ten in a round"""


@pytest.fixture(scope="module")
def config(kind, tmp_path_factory) -> Path:
    if not (Path(sys.prefix) / "bin/mpirun").is_file():
        pytest.skip("no mpirun beside this Python: pip install mpich")
    path = tmp_path_factory.mktemp("ranks") / "config.toml"
    runtime = {"device": kind, "graphs": "yes"}
    path.write_text(tomli_w.dumps({**CONFIG, "runtime": runtime}))
    return path


@pytest.fixture(scope="module")
def alone(config) -> Path:
    """The run on one rank."""
    out = config.parent / "alone"
    play(config, out, 1)
    return out


def play(config: Path, out: Path, ranks: int, *more: str) -> None:
    done = launch(
        "mpich",
        ranks,
        *("-m", "mpifl", "run", config, "--out", out, *more),
        timeout=SECONDS,
        afresh=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_that_share_a_gpu_end_in_the_bits_of_one(config, alone, kind, ranks):
    out = config.parent / f"of-{ranks}"
    play(config, out, ranks)
    assert columns(out) == columns(alone)
    assert all(place.startswith(kind) for place in Run.open(out).provenance["device"])


@pytest.mark.parametrize(("ranks", "lanes"), [(1, 2), (1, 4), (3, 2), (1, "auto")])
def test_clients_that_train_at_once_end_in_the_bits_of_one_after_the_other(
    config, alone, ranks, lanes
):
    out = config.parent / f"lanes-{ranks}-{lanes}"
    play(config, out, ranks, f"runtime.lanes={lanes}")
    assert columns(out) == columns(alone)


def test_eager_steps_end_in_the_bits_of_graphs(config, alone):
    out = config.parent / "eager"
    play(config, out, 1, "runtime.graphs=no")
    assert columns(out) == columns(alone)


def test_a_rank_killed_in_a_replayed_step_ends_all_and_resuming_ends_in_the_same_bits(
    config, alone
):
    out = config.parent / "killed"
    words = (PROGRAM, KILLED_AT, "run", config, "--out", out)
    killed = launch("mpich", 3, *words, timeout=SECONDS, afresh=True)
    assert killed.returncode != 0
    before = len(Run.open(out).rounds["round"])
    assert 0 < before < CONFIG["rounds"]
    play(config, out, 2, "--resume")
    assert Run.open(out).status == "complete"
    assert columns(out) == columns(alone)
