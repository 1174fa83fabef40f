"""A signal to any rank, or to all by their launcher: a checkpoint, exit code 75, and later the same
bits.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from mpi.launch import ALONE
from mpi.running import (
    SLOW,
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

LONG = ["local.epochs=20000"]
"""with SLOW, rounds of more than ten minutes"""
STARTING = str(Path(__file__).parent / "programs" / "starting.py")
SETTING_UP = [str(Path(__file__).parent / "programs" / "setting_up.py")]


@pytest.fixture(scope="session")
def whole(once) -> str:
    """What the undisturbed run says of its rounds."""

    def make(folder: Path) -> None:
        folder.mkdir()
        assert run(written(folder), folder / "run", 1, mpi=ALONE).returncode == 0

    return columns(once("whole", make) / "run")


def assert_resumed_as(whole, config, out):
    resumed = run(config, out, 1, "--resume", mpi=ALONE)
    assert resumed.returncode == 0, resumed.stderr
    assert Run.open(out).status == "complete"
    assert columns(out) == whole


def assert_stopped(out, code, output, by):
    assert code == 75, output
    assert f"stopped by {by} after round" in output
    # though Open MPI gives ranks a terminal, whatever the output goes to
    assert "\x1b" not in output
    assert Run.open(out).status == "stopped"
    assert len(Run.open(out).rounds["round"]) < 12


def trains(out: Path) -> bool:
    """Whether a client trains, of a run of SLOW."""
    return Path(f"{out}.training").exists()


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
    with begun(config, out, 2, mpi=mpi, program=SLOW) as process:
        wait_for_rounds(out, 2, process)
        process.send_signal(number)
        assert_stopped(out, *ended(process), signal.Signals(number).name)
    assert_resumed_as(whole, config, out)


@pytest.mark.parametrize(
    ("mpi", "rank", "number"),
    [("mpich", 0, signal.SIGUSR1), ("mpich", 2, signal.SIGUSR1), ("openmpi", 0, signal.SIGTERM)],
)
def test_a_signal_to_one_rank_stops_all(tmp_path, whole, mpi, rank, number):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 3, mpi=mpi, program=SLOW) as process:
        wait_for_rounds(out, 2, process)
        os.kill(ranks_of(out)[rank], number)
        by = f"a signal to rank {rank}" if rank else number.name
        assert_stopped(out, *ended(process), by)
    assert_resumed_as(whole, config, out)


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_round_that_outlasts_the_grace_is_left_and_done_again(tmp_path, whole, ranks):
    config, out = written(tmp_path), tmp_path / "run"
    more = ["runtime.grace_seconds=0", "results.clients_every=1"]
    with begun(config, out, ranks, *more, program=SLOW) as process:
        wait_for_rounds(out, 2, process)
        process.send_signal(signal.SIGTERM)
        assert_stopped(out, *ended(process), "SIGTERM")
    assert_resumed_as(whole, config, out)


def test_a_stop_does_not_wait_for_a_round_of_minutes(tmp_path):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 3, *LONG, "runtime.grace_seconds=0.5", program=SLOW) as process:
        wait_until(lambda: trains(out))
        process.send_signal(signal.SIGTERM)
        code, output = ended(process)
    assert code == 75, output
    assert Run.open(out).status == "stopped"


def test_a_signal_while_the_run_is_set_up_stops_it_before_the_first_round(tmp_path):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 3, program=SETTING_UP) as process:
        wait_until(lambda: all(Path(f"{out}.{rank}").exists() for rank in range(3)))
        process.send_signal(signal.SIGTERM)
        code, output = ended(process)
    assert code == 75, output
    assert Run.open(out).status == "stopped"
    assert len(Run.open(out).rounds["round"]) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("module", ["mpi4py", "torch"])
@pytest.mark.parametrize("mpi", ["mpich", "openmpi"])
def test_a_signal_to_one_rank_while_it_starts_ends_all(tmp_path, mpi, module, number):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 2, mpi=mpi, program=[STARTING, module, "01"], afresh=True) as process:
        wait_until(lambda: all(Path(f"{out}.{rank}").exists() for rank in range(2)))
        os.kill(ranks_of(out)[1], number)
        code, output = ended(process)
        wait_until(lambda: not ranks_of(out))
    if number == signal.SIGINT and (mpi, module) != (
        "mpich",
        "mpi4py",
    ):  # whose own code says little
        assert code == 130, output
    assert code != 0
    assert "Traceback" not in output
    assert "Aborted!" not in output
    if (number, module) == (signal.SIGINT, "torch"):
        assert "mpifl: interrupted\n" in output


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("mpi4py", signal.SIGINT),
        ("torch", signal.SIGINT),
        ("torch", signal.SIGTERM),
        ("torch", signal.SIGUSR1),
    ],
)
def test_a_signal_to_a_rank_that_waits_for_a_slower_one_ends_all(tmp_path, module, number):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 2, program=[STARTING, module, "0"], afresh=True) as process:
        wait_until(lambda: Path(f"{out}.0").exists())
        os.kill(ranks_of(out)[1], number)
        code, output = ended(process)
    assert code != 0, output


def test_an_interrupt_of_a_lone_process_while_it_starts_exits_with_130(tmp_path):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 1, mpi=ALONE, program=[STARTING, "torch", "0"]) as process:
        wait_until(lambda: Path(f"{out}.0").exists())
        process.send_signal(signal.SIGINT)
        code, output = ended(process)
    assert (code, output) == (130, "mpifl: interrupted\n")


def test_a_stop_by_open_mpis_mpirun_which_kills_its_ranks_at_once_loses_no_checkpoint(
    tmp_path, whole
):
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, 2, mpi="openmpi", program=SLOW) as process:
        wait_for_rounds(out, 4, process)
        process.send_signal(signal.SIGTERM)
        ended(process)
    assert checkpoint.latest(out).round >= 2
    assert_resumed_as(whole, config, out)


@pytest.mark.parametrize(("mpi", "ranks"), [(ALONE, 1), ("mpich", 2), ("openmpi", 2)])
def test_a_second_interrupt_ends_the_run_at_once(tmp_path, mpi, ranks):
    """In the midst of a round of minutes, so it ends with no checkpoint. Open MPI's mpirun kills
    its ranks at the first one. Then, or for a second one, a launcher's own exit code says little:
    MPICH's is 255 or 1, and now and then 0.
    """
    config, out = written(tmp_path), tmp_path / "run"
    with begun(config, out, ranks, *LONG, mpi=mpi, program=SLOW) as process:
        wait_until(lambda: trains(out))
        process.send_signal(signal.SIGINT)
        if mpi != "openmpi":
            pids = ranks_of(out).values() or [process.pid]
            wait_until(lambda: not any(catches(pid, signal.SIGINT) for pid in pids))
        process.send_signal(signal.SIGINT)
        code, output = ended(process)
        wait_until(lambda: not ranks_of(out))
    assert code == -signal.SIGINT if mpi == ALONE else code != 75, output
    assert "stopped by" not in output
    assert Run.open(out).status == "running"


def catches(pid: int, number: int) -> bool:
    """Whether the process would handle a signal itself."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [caught] = [line.split()[1] for line in lines if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_a_rank_that_falls_silent_is_named_and_all_ranks_end(tmp_path):
    config, out = written(tmp_path), tmp_path / "run"
    more = [*LONG, "runtime.patience_minutes=0.1"]
    with begun(config, out, 3, *more, program=SLOW) as process:
        wait_until(lambda: trains(out))
        silent = ranks_of(out)[1]
        os.kill(silent, signal.SIGSTOP)
        code, output = ended(process)
        kill(silent, signal.SIGKILL)
    assert code != 0
    assert "mpifl: rank 0: rank 1 on " in output
    assert "has not reported for " in output
    assert Run.open(out).status == "failed"
