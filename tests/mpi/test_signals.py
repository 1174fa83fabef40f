"""A signal to any rank, or to all by their launcher: a checkpoint, exit code 75, and later the same
bits.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from mpi.launch import ALONE
from mpi.running import (
    begun,
    columns,
    ended,
    kill,
    ranks_of,
    run,
    wait_for_rounds,
    wait_until,
    written,
)

from mpifl.store import Run, checkpoint

LONG = ["local.epochs=2000"]
"""rounds of minutes"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the undisturbed run says of its rounds."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(written(folder), folder / "run", 1, mpi=ALONE).returncode == 0
    return columns(folder / "run")


def assert_goes_on_to(whole, config, out):
    resumed = run(config, out, 1, "--resume", mpi=ALONE)
    assert resumed.returncode == 0, resumed.stderr
    assert Run.open(out).status == "complete"
    assert columns(out) == whole


def assert_stopped_well(out, code, output, by):
    assert code == 75, output
    assert f"stopped by {by} after round" in output
    assert Run.open(out).status == "stopped"
    assert len(Run.open(out).rounds["round"]) < 12


@pytest.mark.parametrize(
    ("mpi", "number"),
    [
        ("mpich", signal.SIGTERM),
        ("mpich", signal.SIGINT),
        ("mpich", signal.SIGUSR1),
        ("openmpi", signal.SIGUSR1),
    ],
)
def test_a_signal_to_the_launcher_stops_with_a_checkpoint_and_a_resumed_run_has_the_same_bits(
    tmp_path, whole, mpi, number
):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 2, mpi=mpi) as process:
        wait_for_rounds(out, 2, process)
        process.send_signal(number)
        assert_stopped_well(out, *ended(process), signal.Signals(number).name)
    assert_goes_on_to(whole, config, out)


@pytest.mark.parametrize(
    ("mpi", "rank", "number"),
    [("mpich", 0, signal.SIGUSR1), ("mpich", 2, signal.SIGUSR1), ("openmpi", 0, signal.SIGTERM)],
)
def test_a_signal_to_one_rank_stops_all(tmp_path, whole, mpi, rank, number):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 3, mpi=mpi) as process:
        wait_for_rounds(out, 2, process)
        os.kill(ranks_of(out)[rank], number)
        assert_stopped_well(
            out, *ended(process), f"a signal to rank {rank}" if rank else number.name
        )
    assert_goes_on_to(whole, config, out)


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_round_that_outlasts_the_grace_is_left_and_done_again(tmp_path, whole, ranks):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, ranks, "runtime.grace_seconds=0", "results.clients_every=1") as process:
        wait_for_rounds(out, 2, process)
        process.send_signal(signal.SIGTERM)
        assert_stopped_well(out, *ended(process), "SIGTERM")
    assert_goes_on_to(whole, config, out)


def test_a_stop_does_not_wait_for_a_round_of_minutes(tmp_path):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 3, *LONG, "runtime.grace_seconds=0.5") as process:
        wait_until(lambda: (out / "results.h5").is_file())
        time.sleep(1)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, output = ended(process)
        assert time.monotonic() - began < 5
    assert code == 75, output
    assert Run.open(out).status == "stopped"


def test_a_signal_while_the_run_is_set_up_stops_it_before_the_first_round(tmp_path):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(
        config, out, 3, "data.name=synthetic", "data.options={train=60_000}", mpi="mpich"
    ) as process:
        wait_until(lambda: len(ranks_of(out)) == 3)
        wait_until(lambda: all(listens(pid) for pid in ranks_of(out).values()))
        process.send_signal(signal.SIGTERM)
        code, output = ended(process, timeout=60)
    assert code == 75, output
    assert Run.open(out).status == "stopped"


def listens(pid: int) -> bool:
    """Whether the process would take SIGTERM itself."""
    caught = next(
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("SigCgt")
    )
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_a_stop_by_open_mpis_mpirun_which_kills_its_ranks_at_once_loses_no_checkpoint(
    tmp_path, whole
):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 2, "runtime.grace_seconds=5", mpi="openmpi") as process:
        wait_for_rounds(out, 4, process)
        process.send_signal(signal.SIGTERM)
        ended(process)
    assert checkpoint.latest(out).round >= 2
    assert_goes_on_to(whole, config, out)


@pytest.mark.parametrize(("mpi", "ranks"), [(ALONE, 1), ("mpich", 2), ("openmpi", 2)])
def test_a_second_interrupt_ends_the_run_at_once(tmp_path, mpi, ranks):
    """Where the first has not: Open MPI's mpirun kills its ranks then."""
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, ranks, *LONG, mpi=mpi) as process:
        wait_until(lambda: (out / "results.h5").is_file())
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        code, output = ended(process, timeout=3)
        wait_until(lambda: not ranks_of(out), seconds=5)
    assert (code == -signal.SIGINT) if mpi == ALONE else (code not in (0, 75)), output
    assert Run.open(out).status == "running"


def test_a_rank_that_falls_silent_is_named_and_all_ranks_end(tmp_path):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 3, "rounds=100", "runtime.patience_minutes=0.1") as process:
        wait_for_rounds(out, 2, process)
        time.sleep(2)
        silent = ranks_of(out)[1]
        os.kill(silent, signal.SIGSTOP)
        code, output = ended(process, timeout=20)
        kill(silent, signal.SIGKILL)
    assert code != 0
    assert "mpifl: rank 0: rank 1 on " in output
    assert "gave no sign of life for " in output
    assert "last seen in round " in output
    assert Run.open(out).status == "failed"
