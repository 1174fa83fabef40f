"""A run is measured while it goes on. Its folder as it was after each round comes step by step,
each time the follower waits.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from analysis.small import CONFIG

import mpifl
from mpifl.analysis.hessian import follow as following
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Findings
from mpifl.store.watching import RunWatch

ROUNDS = 4
GONE = 2**22 + 1
"""above the largest number of a process on Linux"""


class Snapshots(mpifl.Callback):
    """Copies the run folder after each round."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def round_finished(self, progress, last) -> None:
        shutil.copytree(self.folder / "whole", self.folder / f"round-{progress.round}")


@pytest.fixture(scope="session")
def stages(once) -> Path:
    """`whole`, a complete run of ROUNDS rounds that stores clients at every second; `round-1` ...:
    its folder after each round, still being written.
    """

    def make(folder: Path) -> None:
        config = tomllib.loads(CONFIG)
        config["rounds"] = ROUNDS
        config["results"]["commit_seconds"] = 0
        mpifl.run(config, out=folder / "whole", callbacks=[Snapshots(folder)], quiet=True)

    return once("follow-stages", make)


@pytest.fixture
def script(monkeypatch) -> Callable[[list[Callable[[], None]]], None]:
    """script(steps): each time the follower waits, the next step happens."""

    def set_steps(steps: list[Callable[[], None]]) -> None:
        left = iter(steps)
        monkeypatch.setattr(following, "pause", lambda: next(left)())

    return set_steps


def put(stage: Path, run: Path, process: int | None = None) -> None:
    """Write the files of a stage into the run folder, as the run does: models, then results."""
    run.mkdir(exist_ok=True)
    shutil.copytree(stage / "models", run / "models", dirs_exist_ok=True)
    owner = json.loads((stage / "owner.json").read_text())
    owner["pid"] = os.getpid() if process is None else process
    (run / "owner.json").write_text(json.dumps(owner))
    shutil.copy(stage / "results.h5", run / "results.new")
    os.replace(run / "results.new", run / "results.h5")


def numbers(run: Path) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of all findings, by path."""
    return {path: dict(found.arrays) for path, found in Findings.open(run).found.items()}


WORDS = ["--rounds", "all", "--clients", "--quantities", "objective,eigenvalues,diagonal"]


@pytest.mark.slow
def test_it_stores_what_the_same_command_stores_of_the_complete_run(
    stages, script, command, tmp_path
):
    run = tmp_path / "run"
    script(
        [
            lambda: put(stages / "round-1", run),  # before that, there was no run
            lambda: put(stages / "round-2", run),
            lambda: None,
            lambda: put(stages / "round-4", run),
            lambda: put(stages / "whole", run),
        ]
    )
    code, said, _ = command("hessian", str(run), *WORDS, "--follow")
    assert code == 0
    assert said.count("Hessian-vector products") == 3
    assert f"{run}: the run is complete after round 4; 4 stored rounds measured" in said
    shutil.copytree(stages / "whole", tmp_path / "later")
    assert command("hessian", str(tmp_path / "later"), *WORDS)[0] == 0
    followed = numbers(run)
    later = numbers(tmp_path / "later")
    assert followed.keys() == later.keys()
    assert "exact/round_000004/clients/disagreement" in followed
    for path, arrays in later.items():
        for name, values in arrays.items():
            assert np.array_equal(values, followed[path][name]), f"{path} {name}"


@pytest.mark.slow
def test_local_models_are_compared_with_the_global_one_as_rounds_come(
    stages, script, command, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "120")
    run = tmp_path / "run"
    put(stages / "round-1", run)
    script([lambda: put(stages / "round-3", run), lambda: put(stages / "whole", run)])
    code, said, _ = command("hessian", str(run), "--local-against-global", "--follow")
    assert code == 0
    assert "round 2" in said and "round 4" in said
    assert "Gain of averaging" in " ".join(said.split())


@pytest.mark.slow
def test_a_run_whose_process_is_gone_is_dead_and_may_be_resumed(stages, script, command, tmp_path):
    run = tmp_path / "run"
    put(stages / "round-2", run)
    script([lambda: put(stages / "round-3", run, process=GONE)])
    words = ["--quantities", "objective", "--follow"]
    code, said, _ = command("hessian", str(run), *words)
    assert code == 75
    why = f"its process {GONE} on {socket.gethostname()} is gone"
    assert f"the run is dead after round 3 ({why}); 3 stored rounds measured; if it is" in said
    script([lambda: put(stages / "whole", run)])
    put(stages / "round-3", run)
    code, said, _ = command("hessian", str(run), *words)  # resumed: the same command goes on
    assert (code, "the run is complete after round 4" in said) == (0, True)


def test_a_run_that_writes_nothing_for_too_long_is_dead(stages, tmp_path):
    now = 0.0
    run = tmp_path / "run"
    watch = RunWatch(run, patience=600, clock=lambda: now)
    assert watch.look().run is None
    now = 500.0
    put(stages / "round-1", run)
    assert (watch.look().run.saved_rounds, watch.look().ended) == ([1], "")
    now = 1100.0
    assert watch.look().ended == ""
    now = 1101.0
    found = watch.look()
    assert (found.ended, found.why_dead) == ("dead", "nothing was written for 10 min")


def test_a_process_on_another_host_or_without_a_number_is_not_judged(stages, tmp_path):
    run = tmp_path / "run"
    put(stages / "round-1", run)
    for owner in ({"host": "elsewhere", "pid": GONE}, {"host": socket.gethostname()}, []):
        (run / "owner.json").write_text(json.dumps(owner))
        assert RunWatch(run, patience=600).look().ended == ""


def test_another_run_in_its_place_is_refused(stages, tmp_path, once):
    run = tmp_path / "run"
    put(stages / "round-1", run)
    watch = RunWatch(run, patience=600)
    first = watch.look().run
    config = tomllib.loads(CONFIG)
    mpifl.run({**config, "rounds": 1}, out=tmp_path / "other", quiet=True)
    put(tmp_path / "other", run)
    assert Run.open(run).run_id != first.run_id
    with pytest.raises(BadInput, match="got another that has taken its place"):
        watch.look()


def test_what_does_not_go_with_following_is_one_line(stages, script, command, tmp_path):
    script([])
    run = str(stages / "whole")
    code, _, heard = command("hessian", run, "--follow", "--rounds", "last")
    assert (code, "--follow: expected --rounds all" in heard) == (2, True)
    code, _, heard = command("hessian", run, "--patience", "5")
    assert (code, "--patience: expected with --follow" in heard) == (2, True)
    config = tomllib.loads(CONFIG)
    config["results"]["clients_every"] = 0
    config["rounds"] = 1
    mpifl.run(config, out=tmp_path / "bare", quiet=True)
    code, _, heard = command("hessian", str(tmp_path / "bare"), "--follow", "--clients")
    assert (code, "expected a run with results.clients_every=N" in heard) == (2, True)
