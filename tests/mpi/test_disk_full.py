"""A disk that fills up under a run: one clear line, the last checkpoint whole, and with more space
the same bits.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mpi.job import MPICH, Job
from mpi.launch import ALONE
from mpi.running import columns, done, resume, run, written

from mpifl.store import Run, checkpoint, checksum, pack

pytestmark = MPICH

OPTIONS = {
    "rounds": 20,
    "model": {"name": "mlp", "hidden": [256]},
    "evaluation": {"every": 5},
    "results": {
        "checkpoint_rounds": 2,
        "commit_seconds": 0.0,
        "weights_every": 1,
        "clients_every": 1,
    },
}
"""rounds of hundredths of a second that write some 400 kB each"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> str:
    """What the undisturbed run says of its rounds."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(written(folder, **OPTIONS), folder / "run", 1, mpi=ALONE).returncode == 0
    return columns(folder / "run")


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[[int], Path]]:
    """disk(kilobytes) -> a file system of that size, or the same one made that large."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(kilobytes: int) -> Path:
        again = (
            ["-o", f"remount,size={kilobytes}k"]
            if place.is_mount()
            else ["-o", f"size={kilobytes}k"]
        )
        made = subprocess.run(
            ["mount", "-t", "tmpfs", *again, "tmpfs", place], capture_output=True, text=True
        )
        if made.returncode:
            pytest.skip(f"cannot mount a small file system here: {made.stderr.strip()}")
        return place

    yield sized
    if place.is_mount():
        subprocess.run(["umount", place], check=True)


def assert_all_opens(out: Path) -> None:
    opened = Run.open(out)
    for round in opened.saved_rounds:
        opened.weights(round)
        opened.client_weights(round)
    for file in out.rglob("*.h5"):
        checksum.verify(file)


def assert_is_refused(ended: subprocess.CompletedProcess, full: Path, out: Path) -> int:
    """The run ended as it should where no more can be written to `full`; the round of its last
    checkpoint.
    """
    assert ended.returncode == 1, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("mpifl: ")]
    # both ranks may be writing
    assert 1 <= len(lines) <= 2 and "Traceback" not in ended.stderr, ended.stderr
    assert all(
        str(full) in line and "No space left on device" in line and "--resume" in line
        for line in lines
    )
    assert_all_opens(out)
    found = checkpoint.latest(out)
    assert found.warning == "" and 0 < found.round <= done(out)
    return found.round


def assert_goes_on(job: Job, config: Path, out: Path, whole: str) -> None:
    assert "resuming after round" in resume(job, 2, config, out)
    assert columns(out) == whole
    assert_all_opens(out)
    assert not list(out.rglob("*.tmp"))  # not even of a rank that the other ended while it wrote


def fill_and_go_on(
    job: Job, tmp_path: Path, disk: Callable[[int], Path], whole: str, kilobytes: int
) -> None:
    config, out = written(tmp_path, **OPTIONS), disk(kilobytes) / "run"
    first = assert_is_refused(run(config, out, 2), out, out)
    assert done(out) < OPTIONS["rounds"]
    assert assert_is_refused(run(config, out, 2, "--resume"), out, out) >= first
    disk(64_000)
    assert_goes_on(job, config, out, whole)
    assert Run.open(pack(out, tmp_path / "packed.h5")).saved_rounds == list(
        range(1, OPTIONS["rounds"] + 1)
    )


def test_a_run_that_fills_its_disk_goes_on_with_the_same_bits_when_there_is_space(
    job, tmp_path, disk, whole
):
    fill_and_go_on(job("mpich"), tmp_path, disk, whole, kilobytes=5000)


@pytest.mark.long
@pytest.mark.parametrize("kilobytes", range(4400, 9000, 370))
def test_wherever_it_is_met_a_full_disk_costs_no_more(job, tmp_path, disk, whole, kilobytes):
    fill_and_go_on(job("mpich"), tmp_path, disk, whole, kilobytes)


def test_a_run_whose_states_fill_their_disk_goes_on_with_the_same_bits_when_there_is_space(
    job, tmp_path, disk
):
    """Each state takes 5 MB, and their file grows by three at a time."""
    options = {"rounds": 5, "model": {"name": "mlp", "hidden": [8192]}}
    options["results"] = {"checkpoint_rounds": 1, "clients_every": 1}
    config, out = written(tmp_path, **options), tmp_path / "run"
    assert run(config, tmp_path / "whole", 1, mpi=ALONE).returncode == 0
    config = written(tmp_path, **options, runtime={"states_folder": str(disk(56_000))})
    assert_is_refused(run(config, out, 2), tmp_path / "disk", out)
    assert done(out) < 5
    disk(200_000)
    assert_goes_on(job("mpich"), config, out, columns(tmp_path / "whole"))


def test_a_run_is_not_begun_where_there_is_no_room(tmp_path, disk):
    place = disk(16)
    refused = run(written(tmp_path, **OPTIONS), place / "run", 2)
    assert refused.returncode == 1 and refused.stderr.count("No space left on device") == 1
    assert not list(place.iterdir())
