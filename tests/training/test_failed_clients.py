"""Clients that fail, with `divergence = "skip"`: told, stored, and left out of everything."""

from __future__ import annotations

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

import mpifl
from mpifl.cli import main
from mpifl.losses import LOSSES
from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.options import options
from mpifl.training.client_rows import Failure

CONFIG = {
    "seed": 3,
    "rounds": 3,
    "clients": 4,
    "data": {"name": "digits", "train_limit": 200},
    "partition": {"name": "dirichlet", "alpha": 1.0},
    "model": {"name": "mlp", "hidden": [8]},
    "local": {"lr": 0.05, "batch": 32, "loss": "fails"},
    "divergence": "skip",
    "evaluation": {"clients": True},
    "results": {"weights_every": 1, "clients_every": 1, "commit_seconds": 0},
}
FAILS = {(2, 1), (2, 3), (3, 0)}
"""(round, client)"""


@options
class Fails(CrossEntropy):
    """Cross-entropy, but NaN for the clients and rounds of FAILS."""

    def __call__(self, step):
        fails = (step.context.round, step.context.client) in FAILS
        return super().__call__(step) * (float("nan") if fails else 1.0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The run, and all that it printed."""
    folder = tmp_path_factory.mktemp("failing")
    (folder / "config.toml").write_text(tomli_w.dumps(CONFIG))
    command = ["run", str(folder / "config.toml"), "--out", str(folder / "run")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LOSSES, "fails", Fails)
        done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    return mpifl.open(folder / "run"), done.output


def test_each_one_is_told_with_its_round_and_reason(ran):
    run, output = ran
    lines = [line for line in output.splitlines() if "left out" in line]
    assert lines == [
        "round 2: left out client 1, 3: its training loss is not finite",
        "round 3: left out client 0: its training loss is not finite",
    ]
    shown = CliRunner().invoke(main, ["show", str(run.path)]).output
    assert "3 replies in 2 rounds" in " ".join(shown.split())


def test_it_is_stored_as_failed_and_took_no_part(ran):
    run, _ = ran
    failed = np.zeros((3, 4), bool)
    for round, client in FAILS:
        failed[round - 1, client] = True
    assert (run.clients["failed"] == Failure.LOSS_NOT_FINITE).tolist() == failed.tolist()
    assert run.clients["participated"].tolist() == (~failed).astype(int).tolist()
    assert (run.clients["weight"] == 0).tolist() == failed.tolist()
    for name in ("loss", "accuracy", "test_accuracy"):
        assert np.isnan(run.clients[name]).tolist() == failed.tolist()


def test_weights_and_means_are_those_of_the_others(ran):
    run, _ = ran
    sizes = np.diff(run.offsets)
    shares = run.clients["participated"] * sizes
    shares = shares / shares.sum(axis=1, keepdims=True)
    assert run.clients["weight"] == pytest.approx(shares, rel=1e-6)
    of_clients = np.nanmean(run.clients["test_accuracy"], axis=1)
    assert run.rounds["test_accuracy_clients"] == pytest.approx(of_clients, rel=1e-6)


def test_its_reply_counts_in_no_bytes(ran):
    run, _ = ran
    up = run.rounds["bytes_up"]
    assert (up[1] / up[0], up[2] / up[0]) == (2 / 4, 3 / 4)
    assert len(set(run.rounds["bytes_down"])) == 1


def test_its_model_is_not_stored(ran):
    run, _ = ran
    ids, _, _ = run.client_weights(2)
    assert ids.tolist() == [0, 2]


def test_rounds_without_a_failure_store_nothing_more(tmp_path):
    run = mpifl.run({**CONFIG, "local": {"lr": 0.05}, "rounds": 1}, out=tmp_path / "run")
    assert "failed" not in run.clients


def test_weights_that_are_not_finite_after_the_last_round_fail_the_run(tmp_path):
    """Its replies are finite; the server's step makes infinite weights of them."""
    algorithm = {"name": "fedavg", "server_optimizer": {"name": "sgd", "lr": 1e42}}
    config = {**CONFIG, "local": {"lr": 0.5}, "rounds": 1, "algorithm": algorithm}
    with pytest.raises(mpifl.RunFailed, match="round 1: the server's new weights are not finite"):
        mpifl.run(config, out=tmp_path / "run")
    assert mpifl.open(tmp_path / "run").status == "failed"


@pytest.mark.parametrize("divergence", ["stop", "skip"])
def test_where_all_clients_fail_skip_is_advised_only_to_those_who_have_not_set_it(
    tmp_path, divergence
):
    local = {"lr": 1e38, "batch": 32}
    config = {**CONFIG, "local": local, "rounds": 1, "divergence": divergence}
    with pytest.raises(mpifl.RunFailed, match="4 of 4 clients") as failed:
        mpifl.run(config, out=tmp_path / "run", quiet=True)
    assert ("divergence=skip" in str(failed.value)) == (divergence == "stop")
