"""A run's weights and scores do not depend on the number of ranks or of lanes, on the MPI library,
or on there being one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import tomli_w
from mpi.calls import runs
from mpi.job import on

from mpifl.plan import cost
from mpifl.plan.dry_run import dry_run
from mpifl.runner.schema import raw, resolve
from mpifl.store import Run

DIGITS = {
    "seed": 3,
    "rounds": 3,
    "clients": 8,
    "participation": {"fraction": 0.5},
    "data": {"name": "digits", "train_limit": 400},
    "partition": {"name": "dirichlet", "alpha": 0.5},
    "local": {"lr": 0.05, "batch": 16},
}
MLP = DIGITS | {"model": {"name": "mlp", "hidden": [32]}}
BATCH_NORM = {
    "seed": 4,
    "rounds": 2,
    "clients": 6,
    "participation": {"fraction": 0.8},
    "data": {
        "name": "synthetic",
        "options": {"shape": [3, 8, 8], "train": 120, "test": 40},
        "augment": {"crop": 2, "flip": 0.5},
    },
    "partition": {"name": "dirichlet", "alpha": 0.5, "minimum": 4},
    "model": {"name": "resnet20", "norm": "batch"},
    "local": {"lr": 0.05, "batch": 16, "momentum": 0.9},
}
LEFT_OUT = {
    "seed": 6,
    "rounds": 3,
    "clients": 4,
    "data": {
        "name": "synthetic",
        "options": {"shape": [1, 6, 6], "train": 160, "test": 60, "domains": 3},
    },
    "partition": {"name": "dirichlet", "alpha": 0.5},
    "model": {"name": "mlp", "hidden": [16]},
    "local": {"lr": 0.05, "batch": 16},
}
PERSIST = {"momentum": 0.9, "momentum_state": "persist"}
BERNOULLI = {"kind": "bernoulli", "fraction": 0.5}

CASES = {
    "cnn": DIGITS | {"model": {"name": "cnn"}},
    "buffers_averaged": BATCH_NORM | {"buffers": "average"},
    "buffers_pooled": BATCH_NORM | {"buffers": "pooled"},
    "buffers_local": BATCH_NORM | {"buffers": "local", "rounds": 3},
    "clients_that_remember": MLP
    | {"rounds": 8, "participation": BERNOULLI, "local": DIGITS["local"] | PERSIST},
    "evaluation_by_the_server": MLP | {"evaluation": {"where": "server", "batch": 50}},
    "evaluation_shared": MLP | {"evaluation": {"where": "shared", "batch": 50}},
    "evaluation_dealt": BATCH_NORM
    | {
        "algorithm": "feddyn",
        "rounds": 3,
        "holdout": {"ratio": 3, "clients": 0.25},
        "evaluation": {"batch": 5, "models": ["all", "cohort"], "train_every": 1},
    },
    "held_out": MLP | {"holdout": {"ratio": 3, "clients": 0.25}, "evaluation": {"train_every": 2}},
    "held_out_shared": MLP
    | {
        "holdout": {"ratio": 3, "clients": 0.25},
        "evaluation": {"train_every": 1, "where": "all", "batch": 50, "clients": True},
    },
    "left_out": LEFT_OUT | {"holdout": {"domains": ["domain 1"], "ratio": 3}},
    "left_out_dealt": LEFT_OUT
    | {
        "holdout": {"domains": ["domain 0", 2]},
        "evaluation": {"train_every": 1, "batch": 20},
    },
    "own_norms": BATCH_NORM
    | {"algorithm": "fedbn", "rounds": 3, "holdout": {"ratio": 3}, "participation": BERNOULLI},
    "one_client_has_all_samples": MLP
    | {"algorithm": {"name": "central"}, "holdout": {"ratio": 3, "clients": 0.25}},
    "clients_by_themselves": MLP
    | {
        "algorithm": {"name": "local"},
        "holdout": {"ratio": 3, "clients": 0.25},
        "evaluation": {"train_every": 1},
        "local": DIGITS["local"] | PERSIST,
    },
    "clients_that_differ": MLP
    | {
        "rounds": 6,
        "local": DIGITS["local"] | {"epochs": 3},
        "heterogeneity": {
            "availability": {"name": "random", "probability": 0.2},
            "stragglers": 0.4,
            "late": "drop",
            "speed": 1.0,
        },
    },
    "stops_at_a_target": MLP | {"rounds": 30, "evaluation": {"every": 2, "target_accuracy": 0.6}},
    "stops_at_a_target_shared": MLP
    | {"rounds": 30, "evaluation": {"every": 2, "target_accuracy": 0.6, "where": "all"}},
}
PLACES = [
    on("mpich", 2, 1),
    on("mpich", 3, 3),
    on("mpich", 5, 1),
    on("openmpi", 1, 1),
    on("openmpi", 3, 2),
]
"""which MPI, ranks, and lanes of each; beside the reference: one rank of MPICH with one lane"""
OF_CLIENTS = (
    "participated",
    "loss",
    "accuracy",
    "weight",
    "own_right_before",
    "own_right_after",
    "steps",
)


def configs(folder: Path, lanes: int = 1) -> Path:
    """The folder, new and with a config for every case."""
    folder.mkdir()
    for name, config in CASES.items():
        whole = {"name": name, "runtime": {"lanes": lanes}, **config}
        (folder / f"{name}.toml").write_text(tomli_w.dumps(whole))
    return folder


def figures(folder: Path) -> dict[str, list]:
    """What must be the same, to the bit: per round, and per round and client."""
    run = Run.open(folder)
    columns = {name: run.clients[name] for name in OF_CLIENTS if name in run.clients}
    columns |= dict(run.evaluations)
    for name, column in run.rounds.items():
        if not name.startswith(("seconds", "bytes_mpi", "steps_replayed", "lanes")):
            columns[f"rounds {name}"] = column
    # str: nan == nan
    return {name: [str(value) for value in column.tolist()] for name, column in columns.items()}


@pytest.fixture(scope="session")
def reference(once) -> Path:
    """The folder of every case run by this process alone."""
    return once("same-bits", lambda folder: runs.run_all(tiny.alone(), configs(folder)))


@pytest.mark.parametrize(("mpi", "ranks", "lanes"), PLACES)
def test_a_run_has_the_same_bits_on_any_number_of_ranks_and_lanes_under_any_mpi(
    job, reference, tmp_path, mpi, ranks, lanes
):
    job(mpi).call(ranks, runs.run_all, configs(tmp_path / "runs", lanes))
    assert Run.open(tmp_path / "runs" / "cnn").provenance["ranks"] == ranks
    got = {name: figures(tmp_path / "runs" / name) for name in CASES}
    assert got == {name: figures(reference / name) for name in CASES}
    dealt = Run.open(tmp_path / "runs" / "evaluation_dealt").timeline
    assert dealt["test"].shape == (3, ranks)
    assert (dealt["test"][-1] > 0).all()  # also what follows the last round
    alone = Run.open(tmp_path / "runs" / "evaluation_by_the_server").timeline
    assert (alone["test"][1:, 0] > 0).all()
    assert (alone["test"][:, 1:] == 0).all()
    assert ranks == 1 or foretold(tmp_path / "runs" / "cnn") == pytest.approx(1, rel=0.01)


def test_a_run_that_tries_lanes_on_several_ranks_has_the_bits_of_one_lane(job, tmp_path):
    more = {"rounds": 10, "participation": {"fraction": 1.0}, "local": MLP["local"] | PERSIST}
    raw_config = MLP | more | {"algorithm": {"name": "scaffold"}}
    config = tmp_path / "config.toml"
    config.write_text(tomli_w.dumps(raw_config))
    code, said = runs.run(tiny.alone(), config, tmp_path / "alone", [], resume=False)
    assert code == 0, said
    job("mpich").call(3, runs.run_that_tries_lanes, config, tmp_path / "tries")
    assert Run.open(tmp_path / "tries").rounds["lanes"].tolist() == [1] * 4 + [2] * 4 + [4] * 2
    assert figures(tmp_path / "tries") == figures(tmp_path / "alone")


def foretold(folder: Path) -> np.ndarray:
    """The bytes that MPI moved in each round, in parts of those that a plan tells beforehand."""
    traffic = cost.traffic(dry_run(resolve(raw(f"{folder}.toml", []))), cohort=4)
    return Run.open(folder).rounds["bytes_mpi"] / (traffic.broadcast + traffic.reduce)


def test_the_cases_are_what_they_are_named_for(reference):
    runs = {name: Run.open(reference / name) for name in CASES}
    with_empty_rounds = runs["clients_that_differ"]
    for run in runs.values():
        if run is not with_empty_rounds:
            assert len(set(run.rounds["sha256"])) == len(run.rounds["round"])
    took_part = with_empty_rounds.clients["participated"].sum(1)
    assert took_part[0] == 0  # no rank knows yet what a reply is
    assert took_part.max() > 1
    for name, run in runs.items():
        if name.startswith("stops_at"):
            rounds, accuracy = run.rounds["round"], run.rounds["test_accuracy"]
            assert 2 < rounds[-1] < 30
            assert np.isfinite(accuracy[rounds % 2 == 0]).all()
            assert accuracy[-2:].max() >= 0.6
    cohorts = [
        set(np.flatnonzero(row)) for row in runs["clients_that_remember"].clients["participated"]
    ]
    assert len({len(cohort) for cohort in cohorts}) > 1
    averaged, pooled, local = (
        runs[f"buffers_{rule}"].rounds["sha256"][1] for rule in ("averaged", "pooled", "local")
    )
    assert len({averaged, pooled, local}) == 3
