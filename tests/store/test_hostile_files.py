"""Files made to read other files, to fill the memory or to wait for ever: refused in one line."""

import json
import os
import shutil
import signal
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hdf5_editing import edited
from store.stored import PATH, add_findings, add_round, create

from mpifl.cli import main
from mpifl.data import packed as packed_data
from mpifl.data.dataset import Split, assemble
from mpifl.options import BadInput
from mpifl.store import Run, checkpoint, manifest, notes, pack
from mpifl.store.measurements import Findings

SECRET = np.arange(10, dtype="f4")


@contextmanager
def no_hang() -> Iterator[None]:
    """TimeoutError after a minute: what does not hang takes a second, on a busy machine ten."""

    def end(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def refused(match: str = "expected") -> Iterator[None]:
    with no_hang(), pytest.raises(BadInput, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)


def make(folder: Path) -> None:
    """A run of four rounds with checkpoints and findings."""
    store = create(folder)
    for round in (2, 4):
        add_round(store, round, save=True)
    states = {0: {"c": np.zeros(3, "f4")}}
    part = checkpoint.write_part(store.folder, 4, 1, states)
    store.checkpoint(4, {"w": np.zeros(3, "f4")}, [part])
    store.close()
    add_findings(folder)


@pytest.fixture
def folder(once, tmp_path) -> Path:
    shutil.copytree(once("run-with-all-files", make), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def secret(tmp_path) -> Path:
    """A file elsewhere on the disk: raw values, and the same in HDF5."""
    SECRET.tofile(tmp_path / "secret.raw")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = SECRET
    return tmp_path


def external(file: h5py.File, path: str, secret: Path) -> None:
    kept = [(str(secret / "secret.raw"), 0, SECRET.nbytes)]
    file.create_dataset(path, (10,), "f4", external=kept)


def virtual(file: h5py.File, path: str, secret: Path) -> None:
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource(str(secret / "secret.h5"), "x", (10,))
    file.create_virtual_dataset(path, layout)


def linked(file: h5py.File, path: str, secret: Path) -> None:
    file[path] = h5py.ExternalLink(str(secret / "secret.h5"), "/x")


OTHER_FILES = pytest.mark.parametrize("refer", [external, virtual, linked])


@OTHER_FILES
def test_weights_kept_in_another_file_are_neither_read_nor_packed(folder, secret, refer):
    with edited(folder / "models" / "round_000004.h5") as file:
        del file["global"]
        refer(file, "global", secret)
    with refused():
        Run.open(folder).weights()
    with refused():
        pack(folder, secret / "out.h5")
    assert not (secret / "out.h5").exists()


@OTHER_FILES
def test_packed_weights_kept_in_another_file_are_not_read(folder, secret, refer):
    sent = pack(folder, secret / "sent.h5")
    with edited(sent) as file:
        del file["models/round_000004/global"]
        refer(file, "models/round_000004/global", secret)
    with refused():
        Run.open(sent).weights()
    with refused():
        pack(sent, secret / "out.h5")


@OTHER_FILES
def test_a_column_kept_in_another_file_is_not_read(folder, secret, refer):
    with edited(folder / "results.h5") as file:
        refer(file, "rounds/secret", secret)
    with refused():
        Run.open(folder)


@OTHER_FILES
def test_pack_takes_no_reference_to_another_file_along(folder, secret, refer):
    with edited(folder / "results.h5") as file:
        refer(file, "partition/secret", secret)
    with refused("refers to no other files"):
        pack(folder, secret / "out.h5")
    assert not (secret / "out.h5").exists()


def test_weights_behind_a_link_to_any_other_path_are_not_read(folder, secret):
    (folder / "models" / "round_000004.h5").rename(secret / "elsewhere.h5")
    with edited(folder / "results.h5") as file:
        del file["models/round_000004/global"]
        elsewhere = str(secret / "elsewhere.h5")
        file["models/round_000004/global"] = h5py.ExternalLink(elsewhere, "/global")
    with refused("expected weights in models/round_000004.h5; got a link to"):
        Run.open(folder).weights()


@OTHER_FILES
def test_findings_kept_in_another_file_are_not_read(folder, secret, refer):
    with edited(folder / "hessian.h5") as file:
        refer(file, f"{PATH}/eigenvalues/secret", secret)
    with refused():
        Findings.open(folder)
    with edited(folder / "hessian" / "exact.round_000004.global.diagonal.h5") as file:
        refer(file, "secret", secret)
    (folder / "hessian.h5").unlink()
    with refused():
        Findings.open(folder).vectors(PATH)


def made_data(path: Path) -> Path:
    images = np.zeros((4, 1, 2, 2), "u1")
    split = Split(images, np.array([0, 1, 0, 1]), None)
    packed_data.write(assemble("x", split, split, ("a", "b"), "made"), path)
    return path


@OTHER_FILES
def test_data_kept_in_another_file_are_not_read(secret, refer):
    path = made_data(secret / "data.h5")
    with edited(path) as file:
        del file["train/labels"]
        refer(file, "train/labels", secret)
    for read in (packed_data.read, packed_data.describe):
        with refused():
            read(path)


def huge(file: h5py.File, path: str) -> None:
    """An array of 4 TB that takes no room."""
    del file[path]
    file.create_dataset(path, (1 << 40,), "f4", chunks=(1 << 20,))


@pytest.mark.parametrize("path", ["partition/indices", "rounds/bytes_up", "layout/offset"])
def test_an_array_larger_than_what_is_stored_is_not_read(folder, path):
    with edited(folder / "results.h5") as file:
        huge(file, path)
    with refused("has the shape"):
        Run.open(folder)


def test_huge_weights_findings_and_data_are_not_read(folder, secret):
    with edited(folder / "models" / "round_000004.h5") as file:
        huge(file, "global")
    with refused("has the shape"):
        Run.open(folder).weights()
    with edited(folder / "hessian.h5") as file:
        huge(file, f"{PATH}/eigenvalues/values")
    with refused("has the shape"):
        Findings.open(folder)
    path = made_data(secret / "data.h5")
    with edited(path) as file:
        huge(file, "train/labels")
    for read in (packed_data.read, packed_data.describe):
        with refused("has the shape"):
            read(path)


def test_groups_that_hold_each_other_are_no_endless_paths(folder, tmp_path):
    with edited(folder / "hessian.h5") as file:
        group = file["exact"]
        for _ in range(40):
            below = group.create_group("a")
            group["b"] = below
            group = below
        file["exact/round_000004/again"] = file["exact"]
    with refused("nested too deep"):
        Findings.open(folder)
    with edited(folder / "results.h5") as file:
        file["rounds/all"] = file["/"]
        file["provenance/all"] = file["/"]
    for action in (Run.open, lambda path: pack(path, tmp_path / "out.h5")):
        with refused():
            action(folder)


PLACES = [
    "results.h5",
    "models/round_000004.h5",
    "checkpoint/manifest.json",
    "checkpoint/round_000004.server.h5",
    "hessian.h5",
    "hessian/exact.round_000004.global.diagonal.h5",
]


def pipe(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 42)


def read_all(folder: Path) -> None:
    run = Run.open(folder)
    run.weights()
    checkpoint.latest(folder)
    Findings.open(folder).vectors(PATH)


@pytest.mark.parametrize("put", [pipe, zeros, loop, sparse])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(folder, place, put):
    (folder / place).unlink()
    put(folder / place)
    if put is loop and place.startswith("hessian"):
        return  # as if it were not there
    with refused():
        read_all(folder)


@pytest.mark.parametrize("put", [pipe, zeros, loop, sparse])
def test_no_command_waits_for_a_pipe_or_a_device(folder, tmp_path, put):
    put(tmp_path / "x")
    given = str(tmp_path / "x")
    out = str(tmp_path / "out.h5")
    commands = [
        ["show", given],
        ["table", given],
        ["pack", given, "-o", out],
        ["reseal", given],
        ["note", given, "text"],
        ["plan", given],
        ["plan", "data.path=" + given],
        ["sweep", given],
    ]
    for command in commands:
        with no_hang():
            result = CliRunner().invoke(main, command)
        lines = result.stderr.count("\n")
        # table passes over what is no run, which is a line more
        assert result.exit_code == 2, (command, result.output)
        assert lines == 1 or (command[0], lines) == ("table", 2), (command, result.output)


@pytest.mark.parametrize("put", [pipe, zeros, loop, sparse])
def test_a_pipe_or_a_device_among_the_notes_is_told_and_the_others_are_read(folder, put):
    run = Run.open(folder)
    note = notes.add(run, "mine")
    put(note.with_name(f"0{note.name}"))
    with no_hang():
        (_, told), (_, mine) = notes.read(run)
    assert told.startswith("(cannot be read")
    assert mine == "mine"


@pytest.mark.parametrize("put", [pipe, zeros, loop])
def test_an_owner_that_is_no_file_is_nobody(folder, put):
    (folder / "owner.json").unlink()
    put(folder / "owner.json")
    with no_hang():
        assert CliRunner().invoke(main, ["show", str(folder)]).exit_code == 0


def sealed(content: object) -> str:
    """A manifest with a right checksum."""
    text = json.dumps(content, sort_keys=True)
    record = {"format": "mpifl-checkpoint", "format_version": 1, "content": content}
    return json.dumps({**record, "crc32": zlib.crc32(text.encode())})


PART = {"name": "round_000004.server.h5", "size": 1, "crc32": 1, "clients": []}
ENTRY = {"round": 4, "config": "ab", "parts": [PART]}
ODD_MANIFESTS = [
    None,
    [],
    "text",
    {"run_id": 3, "checkpoints": []},
    {"run_id": "ab", "checkpoints": 7},
    {"run_id": "ab", "checkpoints": {"a": 1}},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "round": "4"}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "round": True}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "round": 4.5}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "config": None}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "parts": []}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "parts": "ab"}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "parts": [{**PART, "name": 3}]}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "parts": [{**PART, "name": "../../secret.h5"}]}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "parts": [{**PART, "size": "1"}]}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "parts": [{**PART, "clients": ["x"]}]}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "parts": [{**PART, "clients": 5}]}]},
    {"run_id": "ab", "checkpoints": [{**ENTRY, "parts": [{**PART, "clients": [-1]}]}]},
]


@pytest.mark.parametrize("content", ODD_MANIFESTS)
def test_a_manifest_of_odd_types_is_refused(folder, content):
    (folder / "checkpoint" / "manifest.json").write_text(sealed(content))
    with refused("expected the list of a run's checkpoints"):
        manifest.read(folder)
    with refused("expected the list of a run's checkpoints"):
        checkpoint.latest(folder)


def test_checkpoints_behind_a_symbolic_link_are_pruned_only_if_they_are_the_runs_own(tmp_path):
    store = create(tmp_path / "run")
    shared = tmp_path / "shared"
    (store.folder / "checkpoint").rename(shared)
    for name in ("round_000001.server.h5", "round_000001.rank_0001.h5"):
        (shared / name).write_text("another run's")
    (store.folder / "checkpoint").symlink_to(shared)
    for round in (2, 3, 4, 5):
        add_round(store, round)
        part = checkpoint.write_part(store.folder, round, 1, {0: {"c": np.zeros(3, "f4")}})
        store.checkpoint(round, {"w": np.zeros(3, "f4")}, [part])
    kept = set()
    for round in (1, 4, 5):
        kept |= {f"round_00000{round}.server.h5", f"round_00000{round}.rank_0001.h5"}
    assert {path.name for path in shared.iterdir()} == {*kept, "manifest.json"}
    manifest.prune(store.folder, ())
    assert {path.name for path in shared.iterdir()} == {*kept, "manifest.json"}
