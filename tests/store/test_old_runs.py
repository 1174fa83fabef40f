"""Runs that version 0.1.0 wrote: they open, show, and resume to the same weights as under 0.1.0."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from machine import machine

from mpifl.cli import main
from mpifl.store import Run, Store, checkpoint, sha256
from mpifl.store.measurements import Findings

OLD_RUNS = Path(__file__).with_name("old_runs")
EXPECTED = json.loads((OLD_RUNS / "expected.json").read_text())
MACHINE = EXPECTED.pop("machine")
NAMES = sorted(EXPECTED)


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def folder(name, tmp_path) -> Path:
    return unpacked(name, tmp_path)


def unpacked(name: str, place: Path) -> Path:
    with tarfile.open(OLD_RUNS / f"{name}-0.1.0.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return place / name


def resume(folder: Path, config: Path) -> Result:
    return CliRunner().invoke(main, ["run", str(config), "--out", str(folder), "--resume"])


def check_as_expected(folder: Path, name: str) -> None:
    """The bits of 0.1.0 on the machine that recorded them, its numbers on any."""
    run, expected = Run.open(folder), EXPECTED[name]
    weights, buffers = run.weights()
    assert (run.status, run.saved_rounds[-1]) == ("complete", 6)
    np.testing.assert_allclose(weights, expected["weights"], rtol=1e-4, atol=1e-5)
    assert run.rounds["sha256"][-1] == sha256(weights, buffers)
    if machine() == MACHINE:
        assert run.rounds["sha256"].tolist() == expected["sha256"]


def test_an_old_run_opens_with_its_rounds_clients_and_weights(folder, name):
    run = Run.open(folder)
    assert (run.status, run.provenance["version_mpifl"]) == ("stopped", "0.1.0")
    assert run.rounds["round"].tolist() == [1, 2, 3, 4]
    assert run.rounds["sha256"].tolist() == EXPECTED[name]["sha256"][:4]
    assert run.saved_rounds == [2, 3]
    for saved in run.saved_rounds:
        assert sha256(*run.weights(saved)) == run.rounds["sha256"][saved - 1]
    ids, weights, _ = run.client_weights(3)
    assert ids.tolist() == np.flatnonzero(run.clients["participated"][2]).tolist()
    assert weights.shape == (len(ids), 63)
    assert np.isfinite(weights).all()


def test_an_old_run_is_shown(folder, name):
    shown = CliRunner().invoke(main, ["show", str(folder)])
    assert shown.exit_code == 0
    assert EXPECTED[name]["sha256"][2] in shown.stdout


def test_an_old_run_resumes_to_the_weights_of_the_old_version(folder, name):
    resumed = resume(folder, OLD_RUNS / f"{name}.toml")
    assert resumed.exit_code == 0, resumed.output
    check_as_expected(folder, name)


@pytest.mark.slow
def test_an_old_run_resumes_from_the_config_stored_in_it(folder, name):
    resumed = resume(folder, folder)
    assert resumed.exit_code == 0, resumed.output
    check_as_expected(folder, name)


@pytest.mark.slow
def test_an_old_run_whose_resume_was_killed_before_a_checkpoint_resumes_again(
    folder, name, monkeypatch
):
    with monkeypatch.context() as killed:
        killed.setattr(Store, "append", lambda *_: pytest.fail("killed"))
        resume(folder, OLD_RUNS / f"{name}.toml")
    assert checkpoint.latest(folder).round == 4
    resumed = resume(folder, OLD_RUNS / f"{name}.toml")
    assert resumed.exit_code == 0, resumed.output
    check_as_expected(folder, name)


def test_the_client_states_of_an_old_checkpoint_are_read(tmp_path):
    found = checkpoint.latest(unpacked("scaffold", tmp_path))
    assert (found.round, found.clients_held()) == (4, [0, 1, 2, 3, 4])
    for _, state in found.states(found.clients_held()):
        assert list(state) == ["c", "momentum"]
    assert set(found.server) == {"w", "buffers", "server.c"}


def test_old_measurements_are_read_and_kept_when_others_are_added(tmp_path):
    folder = unpacked("scaffold", tmp_path)
    findings = Findings.open(folder)
    eigenvalues = findings.found["exact/round_000003/global/eigenvalues"]
    np.testing.assert_allclose(eigenvalues["values"], [1.14171209, 0.80303872])
    assert findings.settings["exact"]["top"] == 2
    diagonal = findings.vectors("exact/round_000003/client_000001")["diagonal"]
    assert diagonal.shape == (63,)
    before = set(findings.found)
    findings.add("mine/round_000003/global/eigenvalues", eigenvalues)
    assert before < set(Findings.open(folder).found)
