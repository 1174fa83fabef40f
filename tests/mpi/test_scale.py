"""What large runs take: a million clients, hundreds of rounds, messages beyond 2^31 bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli_w
from mpi.launch import ALONE, MPIS, launch

from mpifl.store import Run

PROGRAMS = Path(__file__).parent / "programs"
GIB = 1 << 30

MANY = {
    "rounds": 3,
    "data": {"name": "synthetic", "options": {"shape": [1, 4, 4], "test": 100}},
    "partition": {"name": "iid"},
    "model": {"name": "mlp", "hidden": [16]},
    "algorithm": {"name": "scaffold"},
    "local": {"batch": 10, "lr": 0.05},
}
STEADY = {
    "rounds": 300,
    "clients": 100,
    "participation": {"kind": "bernoulli", "fraction": 0.3},
    "data": {"name": "synthetic", "options": {"shape": [1, 8, 8], "train": 2000, "test": 200}},
    "partition": {"name": "dirichlet", "minimum": 3},
    "model": {"name": "mlp", "hidden": [256]},
    "algorithm": {"name": "scaffold"},
    "local": {"batch": 10, "lr": 0.05, "momentum": 0.5, "momentum_state": "persist"},
    "results": {"checkpoint_rounds": 10},
}


def taken(folder: Path, config: dict, mpi: str, ranks: int) -> list[dict]:
    """What each rank took for a run of `config` into folder/run."""
    (folder / "config.toml").write_text(tomli_w.dumps(config))
    command = (PROGRAMS / "memory.py", folder / "config.toml", folder / "run")
    done = launch(mpi, ranks, *command, timeout=1800, afresh=True)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"run.{rank}.json").read_text()) for rank in range(ranks)]


def available() -> int:
    """Bytes of memory that programs may still ask for."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def many(clients: int) -> dict:
    """Ten of so many clients a round, of a sample each."""
    options = {**MANY["data"]["options"], "train": clients}
    data, drawn = {**MANY["data"], "options": options}, {"kind": "fixed", "fraction": 10 / clients}
    return {**MANY, "clients": clients, "data": data, "participation": drawn}


def test_a_hundred_thousand_clients_take_little(tmp_path):
    [found] = taken(tmp_path, many(100_000), ALONE, 1)
    assert found["peaks"][-1] - found["start"] < 150e6
    assert found["seconds"] < 30
    assert Run.open(tmp_path / "run").clients["participated"].sum(1).tolist() == [10, 10, 10]


@pytest.mark.long
def test_a_million_clients_take_a_quarter_of_a_gigabyte_beside_python(tmp_path):
    states = tmp_path / "states"
    states.mkdir()
    found = taken(
        tmp_path, {**many(1_000_000), "runtime": {"states_folder": str(states)}}, "mpich", 3
    )
    assert max(rank["peaks"][-1] - rank["start"] for rank in found) < 350e6
    assert max(rank["seconds"] for rank in found) < 60
    assert (tmp_path / "run" / "results.h5").stat().st_size < 50e6


@pytest.mark.long
@pytest.mark.parametrize(
    ("mpi", "ranks", "on_disk"), [(ALONE, 1, False), ("mpich", 3, False), ("mpich", 3, True)]
)
def test_memory_is_flat_over_hundreds_of_rounds(tmp_path, mpi, ranks, on_disk):
    runtime = {"states_folder": str(tmp_path)} if on_disk else {}
    for rank, found in enumerate(taken(tmp_path, {**STEADY, "runtime": runtime}, mpi, ranks)):
        early, late = found["peaks"][20], found["peaks"][-1]
        print(
            f"rank {rank}: {early / 1e6:.1f} MB after round 20, {late / 1e6:.1f} MB after round 300"
        )
        assert late < 1.02 * early, rank


@pytest.mark.long
@pytest.mark.parametrize("mpi", MPIS)
def test_messages_beyond_two_gibibytes_arrive(mpi):
    if (free := available()) < 16 * GIB:
        pytest.skip(f"needs 16 GiB of memory; {free / GIB:.0f} are free")
    done = launch(mpi, 2, PROGRAMS / "large.py", timeout=1200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ok"
