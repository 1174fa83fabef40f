"""A run can be read at any moment: after a kill, on a full disk, while a writer commits."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mpifl.store import Run, atomic, pack

WRITER = """
import sys, numpy as np
from pathlib import Path
from mpifl.store import Entry, Store
partition = np.arange(4), np.arange(5), np.ones((4, 1), int)
layout = [Entry("w", "parameter", (1000,), 0, 1000)]
store = Store.create(Path(sys.argv[1]), config="", seed=0, layout=layout, clients=4,
                     partition=partition, provenance={}, commit_seconds=0)
for t in range(int(sys.argv[2])):
    if t % 3 == 0:
        store.weights(t, np.full(1000, t, "f4"))
    store.append(t, {"twice": 2 * t, "text": str(t)}, {"loss": [t]}, [t % 4])
store.close()
"""


def start_writer(folder: Path, rounds: int = 10**9) -> subprocess.Popen:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, folder, str(rounds)])
    while not (folder / "results.h5").exists():
        assert writer.poll() is None
        time.sleep(0.005)
    return writer


def check_consistent(folder: Path) -> int:
    run = Run.open(folder)
    rounds = run.rounds["round"]
    count = len(rounds)
    assert rounds.tolist() == list(range(count)) and run.clients["participated"].sum() == count
    if count:
        assert run.rounds["twice"].tolist() == (2 * rounds).tolist()
        assert run.rounds["text"].tolist() == [str(t) for t in rounds]
        assert np.nansum(run.clients["loss"]) == rounds.sum()
    for saved in run.saved_rounds[-2:]:
        assert (run.weights(saved)[0] == saved).all()
    return count


@pytest.mark.slow
def test_a_run_killed_at_any_moment_opens(tmp_path):
    moments = random.Random(5)
    for i in range(6):
        writer = start_writer(tmp_path / str(i))
        time.sleep(moments.uniform(0, 0.25))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        check_consistent(tmp_path / str(i))


@pytest.mark.slow
def test_reading_while_a_writer_commits_is_always_consistent(tmp_path):
    writer = start_writer(tmp_path / "run")
    seen, end = set(), time.monotonic() + 300
    try:
        while len(seen) < 20:
            seen.add(check_consistent(tmp_path / "run"))
            assert time.monotonic() < end
    finally:
        writer.kill()
        writer.wait()


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes, as on a full disk but with EFBIG.

    Within the test only: pytest's own output may go to a larger file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_refused_commit_is_an_oserror_and_the_old_file_stays(run, tmp_path, create, add_round):
    store = create(tmp_path / "full", commit_seconds=1e9)
    add_round(store, 1)
    store.commit()
    before = (store.folder / "results.h5").read_bytes()
    for size in (0, 1, 1000, len(before) - 1):
        with limited(size):
            add_round(store, 10 + size)
            with pytest.raises(OSError, match=str(store.folder)) as refused:
                store.commit()
            assert refused.value.errno == errno.EFBIG
            with pytest.raises(OSError, match=str(store.folder)) as refused:
                store.weights(size, np.zeros(100_000, "f4"))
            assert refused.value.errno == errno.EFBIG
        assert (store.folder / "results.h5").read_bytes() == before
        assert [p.name for p in store.folder.rglob("*.tmp")] == []
    store.close("stopped")
    assert len(Run.open(store.folder).rounds["round"]) == 5


def test_a_run_that_cannot_be_begun_leaves_its_place_free(tmp_path, create):
    with limited(1000), pytest.raises(OSError, match="results.h5"):
        create(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_pack_without_room_is_an_oserror_and_leaves_nothing(run, tmp_path):
    for size in (1000, (run / "results.h5").stat().st_size + 100):
        with limited(size), pytest.raises(OSError, match=r"out\.h5"):
            pack(run, tmp_path / "out.h5")
        assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True
    )
    if made.returncode:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_stops_the_run_but_not_its_readers(small_disk, create, add_round):
    store = create(small_disk / "run")
    with pytest.raises(OSError, match="No space left") as caught:
        for t in range(1, 1000):
            store.weights(t, np.full(4000, t, "f4"))
            add_round(store, t)
    assert str(small_disk) in str(caught.value) and list(small_disk.rglob("*.tmp")) == []
    run = Run.open(small_disk / "run")
    assert run.saved_rounds and all((run.weights(t)[0] == t).all() for t in run.saved_rounds)


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path):
    atomic.write(tmp_path / "a", b"old")

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic.write(tmp_path / "a", b"new", interrupt)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.parametrize("write", [atomic.write, atomic.write_hdf5])
def test_a_file_is_on_the_disk_before_it_takes_its_place_and_its_folder_after(
    tmp_path, monkeypatch, write
):
    done = []
    replace = os.replace

    def replaced(old, new):
        done.append("replaced")
        replace(old, new)

    def synced(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append("folder" if path == tmp_path else path.read_bytes()[:3])

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", synced)
    write(tmp_path / "file", b"new")
    assert done == [b"new", "replaced", "folder"]
