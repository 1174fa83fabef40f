"""Runs in the background, to be disturbed, and what two runs of the same bits have in common."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tomli_w
from click.testing import CliRunner
from mpi.calls import runs
from mpi.job import Job
from mpi.launch import ALONE, STAND_IN, environment, launch, mpirun, plain, preloaded

from mpifl.cli import main
from mpifl.options import BadInput
from mpifl.store import Run

CONFIG = {
    "seed": 5,
    "rounds": 12,
    "clients": 8,
    "participation": {"kind": "bernoulli", "fraction": 0.5},
    "data": {"name": "digits", "train_limit": 400},
    "partition": {"name": "dirichlet", "alpha": 0.5},
    "model": {"name": "mlp", "hidden": [64]},
    "algorithm": {"name": "scaffold", "server_optimizer": {"name": "sgd", "momentum": 0.5}},
    "local": {"lr": 0.05, "batch": 16, "momentum": 0.5, "momentum_state": "persist"},
    "evaluation": {"every": 3, "models": ["cohort", "all"]},
    "results": {"checkpoint_rounds": 2, "commit_seconds": 0.0},
}
"""much that a resumed run must get right: client states, server momentum, means of local models,
rounds untested
"""

MPIFL = ("-m", "mpifl")


def slow(seconds: float, round: int) -> tuple[str, ...]:
    """A program for `begun`, that sleeps at each step for `seconds`, from `round` on for longer."""
    return (str(Path(__file__).parent / "programs" / "slow.py"), str(seconds), str(round))


SLOW = slow(0.01, 9)
"""after eight of the 12 rounds there are tens of seconds left to disturb it"""


def written(folder: Path, **options) -> Path:
    """CONFIG as a file, with other `options`."""
    path = folder / "config.toml"
    path.write_text(tomli_w.dumps({**CONFIG, **options}))
    return path


def run(
    config: Path, out: Path, ranks: int, *more: str, mpi: str = "mpich"
) -> subprocess.CompletedProcess:
    """`mpifl run`, to its end: where there is no MPI, in this very process, which has started
    already.
    """
    command = ["run", str(config), "--out", str(out), *map(str, more)]
    if mpi != ALONE:
        return launch(mpi, ranks, "-m", "mpifl", *command, timeout=300)
    done = CliRunner().invoke(main, command)
    return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)


def resume(job: Job, ranks: int, config: Path, out: Path, *more: str) -> str:
    """What `mpifl run --resume` says, which goes on to the run's end on ranks of a running job."""
    code, output = job.call(ranks, runs.run, config, out, more, True)[0]
    assert code == 0, output
    return output


@contextmanager
def begun(
    config: Path,
    out: Path,
    ranks: int,
    *more: str,
    mpi: str = "mpich",
    program: Sequence[str] = MPIFL,
    afresh: bool = False,
) -> Iterator[subprocess.Popen]:
    """`mpifl run` in the background, in its own session; nothing of it is left afterwards."""
    start = mpirun(mpi, ranks, afresh or mpi == ALONE)
    command = [*start, *program, "run", str(config), "--out", str(out), *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(
        command, env=environment(mpi), start_new_session=True, **pipes
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            for pid in ranks_of(out).values():
                kill(pid, signal.SIGKILL)


def ended(process: subprocess.Popen, timeout: float = 180) -> tuple[int, str]:
    """The exit code and all the output of a run that ends by itself."""
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, plain(output)


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may have gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def ranks_of(out: Path) -> dict[int, int]:
    """Rank -> process id, of the run that writes `out` now."""
    found = _forks(out)
    for place in Path("/proc").iterdir():
        try:
            line, told = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        except (OSError, NotADirectoryError):
            continue
        words = line.split(b"\0")
        if str(out).encode() in words and not {b"-n", STAND_IN.encode()} & set(words):
            known = dict(item.split(b"=", 1) for item in told.split(b"\0") if b"=" in item)
            rank = known.get(b"PMI_RANK", known.get(b"OMPI_COMM_WORLD_RANK"))
            if rank is not None:
                found[int(rank)] = int(place.name)
    return found


def wait_for_line(start: str, process: subprocess.Popen) -> None:
    """Read the output of a run until a line that begins so; an error if the run ends before."""
    read = []
    for line in process.stdout:
        read.append(plain(line))
        if read[-1].startswith(start):
            return
    raise AssertionError(f"expected a line that begins with {start!r}; got " + "".join(read))


def _forks(out: Path) -> dict[int, int]:
    """Rank -> process id, of those ranks that are forks of preloaded.py."""
    found = {}
    for note in preloaded().glob("*.rank"):
        try:
            rank, *arguments = note.read_text().splitlines()
        except FileNotFoundError:
            continue
        if rank and str(out) in arguments:
            found[int(rank)] = int(note.stem)
    return found


def wait_for_rounds(out: Path, rounds: int, process: subprocess.Popen) -> None:
    """Until so many rounds are on disk, or the run has ended."""
    wait_until(lambda: done(out) >= rounds or process.poll() is not None)


def wait_until(condition: Callable[[], bool], seconds: float = 180) -> None:
    """Look until `condition` holds; an error when it never does.

    Looking may take a while: most of the time is left to the ranks.
    """
    deadline = time.monotonic() + seconds
    began = time.monotonic()
    while not condition():
        ended = time.monotonic()
        if ended > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(max(0.02, min(4 * (ended - began), 0.2)))
        began = time.monotonic()


def done(out: Path) -> int:
    """Rounds on disk."""
    try:
        return len(Run.open(out).rounds["round"])
    except (BadInput, KeyError):
        return 0


def columns(out: Path) -> str:
    """What a run says of each round, as text (rounds without an evaluation are NaN), times left
    out.
    """
    run = Run.open(out)
    names = ("round", "sha256", "test_accuracy", "test_accuracy_all", "bytes_up", "lr")
    return str({name: run.rounds[name].tolist() for name in names if name in run.rounds})
