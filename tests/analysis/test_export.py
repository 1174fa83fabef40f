"""What `mpifl export` writes is read back by the libraries of those who use it."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import mpifl
from mpifl.analysis import long_tables
from mpifl.cli import main
from mpifl.store import Run

CONFIG = {
    "rounds": 4,
    "clients": 4,
    "participation": {"fraction": 0.5},
    "data": {
        "name": "synthetic",
        "options": {"shape": [1, 8, 8], "classes": 3, "train": 60, "test": 12},
    },
    "partition": {"name": "iid"},
    "model": {"name": "mlp", "hidden": [5]},
    "local": {"steps": 1},
}
HELD_OUT = {"holdout": {"ratio": 4}, "evaluation": {"every": 2}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Run]:
    """A run with own test sets, and a plain one."""
    folder = tmp_path_factory.mktemp("exported")
    return [
        mpifl.run({**CONFIG, **HELD_OUT, "seed": 1}, out=folder / "held-out", quiet=True),
        mpifl.run({**CONFIG, "seed": 2}, out=folder / "plain", quiet=True),
    ]


@pytest.fixture
def exported(runs, tmp_path, monkeypatch):
    """exported(kind) -> the folder with the runs."""

    def export(kind: str) -> Path:
        monkeypatch.chdir(tmp_path)
        paths = [str(run.path) for run in runs]
        done = CliRunner().invoke(main, ["export", *paths, "--to", kind, "-o", "out"])
        assert done.exit_code == 0, done.output
        return tmp_path / "out"

    return export


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_csv_has_a_row_for_each_run_and_round_with_every_column(runs, exported):
    folder = exported("csv")
    found = rows(folder / "runs.csv")
    assert [(row["run"], row["seed"], row["status"]) for row in found] == [
        ("held-out", "1", "complete"),
        ("plain", "2", "complete"),
    ]
    assert [row["holdout.ratio"] for row in found] == ["4", "0"]
    found = rows(folder / "rounds.csv")
    assert [(row["run"], row["round"]) for row in found] == [
        (name, str(round)) for name in ("held-out", "plain") for round in range(1, 5)
    ]
    plain = [row for row in found if row["run"] == "plain"]
    accuracies = [float(row["test_accuracy"]) for row in plain]
    assert accuracies == runs[1].rounds["test_accuracy"].tolist()  # to the bit
    assert {row["own_accuracy"] for row in plain} == {""}
    assert [row["test_accuracy"] == "" for row in found[:4]] == [True, False, True, False]


def test_clients_have_a_row_for_each_round_in_which_they_took_part(runs, exported):
    found = rows(exported("csv") / "clients.csv")
    of_first = [row for row in found if row["run"] == "held-out"]
    took_part = np.argwhere(runs[0].clients["participated"])
    assert [(int(row["round"]) - 1, int(row["client"])) for row in of_first] == [
        (round, client) for round, client in took_part.tolist()
    ]
    losses = runs[0].clients["loss"][tuple(took_part.T)]
    assert [np.float32(row["loss"]) for row in of_first] == losses.tolist()


def test_evaluations_are_counts_and_means_by_client_class_and_bin(runs):
    table = long_tables(runs)["evaluations"]
    of_clients = (table["set"] == "own") & (table["by"] == "client") & (table["round"] == 4)
    right = runs[0].evaluations["own_right_by_client"][-1]
    samples = runs[0].evaluations["own_samples_by_client"]
    losses = runs[0].evaluations["own_loss_by_client"][-1]
    assert table["number"][of_clients].tolist() == [0, 1, 2, 3]
    assert table["right"][of_clients].tolist() == right.tolist()
    assert table["accuracy"][of_clients].tolist() == (right / samples).tolist()
    assert table["loss"][of_clients].tolist() == (losses / samples).tolist()
    assert set(table["by"]) == {"client", "class", "bin"}
    assert set(table["run"]) == {"held-out", "plain"}


def test_rounds_have_the_training_loss(runs):
    table = long_tables(runs[1:])["rounds"]
    known = runs[1].clients
    expected = np.nansum(known["loss"] * known["weight"], axis=1)
    assert table["training_loss"] == pytest.approx(expected, rel=1e-6)


def test_parquet_holds_the_same_tables(runs, exported):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    folder = exported("parquet")
    for name, table in long_tables(runs).items():
        found = parquet.read_table(folder / f"{name}.parquet")
        assert found.column_names == list(table)
        for column, values in table.items():
            read = found[column].to_pylist()
            missing = [value is None for value in read]
            assert missing == [value != value for value in values.tolist()]
            kept = [value for value in read if value is not None]
            assert kept == [value for value in values.tolist() if value == value]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_the_rounds_and_an_export_is_replaced_by_the_next(runs, exported):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    exported("tensorboard")
    folder = exported("tensorboard")
    assert len(list((folder / "plain").iterdir())) == 1
    read = EventAccumulator(str(folder / "plain")).Reload()
    found = read.Scalars("test_accuracy")
    assert [event.step for event in found] == [1, 2, 3, 4]
    assert [event.value for event in found] == pytest.approx(runs[1].rounds["test_accuracy"])
    assert "training_loss" in read.Tags()["scalars"]
    assert read.Tags()["tensors"] == ["config/text_summary"]


@pytest.mark.parametrize(
    ("kind", "library", "extra"),
    [("parquet", "pyarrow.parquet", "parquet"), ("tensorboard", "tensorboard", "tensorboard")],
)
def test_a_missing_library_is_told_in_a_line(runs, monkeypatch, tmp_path, kind, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    words = ["export", str(runs[0].path), "--to", kind, "-o", str(tmp_path / "out")]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"mpifl: export --to {kind}: expected ")
    assert f"`pip install 'mpifl[{extra}]'`" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_the_same_run_twice_is_refused(runs, tmp_path):
    path = str(runs[0].path)
    refused = CliRunner().invoke(main, ["export", path, path, "-o", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert "expected each run once" in refused.stderr


@pytest.mark.slow
def test_exporting_to_csv_imports_no_torch(runs, tmp_path):
    program = f"""
import sys
from mpifl.cli import main
try:
    main(["export", {str(runs[0].path)!r}, "-o", {str(tmp_path)!r}])
finally:
    print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"
