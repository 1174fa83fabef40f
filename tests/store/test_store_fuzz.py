"""A damaged or strange file of a run, or of packed data, reads as before or is refused; nothing is
changed.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import astuple, fields
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from damage import overwrite
from fuzzing import damaged, outcome
from hdf5_editing import edited

from mpifl.cli import main
from mpifl.data import packed, synthetic
from mpifl.options import BadInput
from mpifl.store import Entry, Partition, Run, Store, checkpoint, pack
from mpifl.store.measurements import Finding, Findings
from mpifl.store.run_folder import Superseded, check_free, is_run

pytestmark = pytest.mark.slow

CONFIG = 'name = "tiny"\nrounds = 3\n'
LAYOUT = [Entry("weight", "parameter", (5, 2), 0, 10), Entry("mean", "buffer", (2,), 0, 2)]
PARTITION = Partition(np.arange(8)[::-1], np.array([0, 1, 3, 3, 8]), np.arange(12).reshape(4, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a run of two rounds and two checkpoints, its pack, findings about it, and
    packed data.
    """
    place = tmp_path_factory.mktemp("fuzzed")
    given = {"config": CONFIG, "layout": LAYOUT, "provenance": {"hosts": ["n1", "n2"], "ranks": 2}}
    store = Store.create(
        place / "run", seed=7, clients=4, partition=PARTITION, commit_seconds=0.0, **given
    )
    for t in (1, 2):
        store.weights(
            t,
            np.full(10, t, "f4"),
            np.full(2, -t, "f4"),
            np.full((2, 10), t + 0.5, "f4"),
            None,
            [1, 3],
        )
        row = {"test_accuracy": t / 10, "bytes_up": 100 * t, "sha256": f"{t:064x}"}
        store.append(t, row, {"loss": [t, -t]}, [t, t + 1])
        parts = [
            checkpoint.write_part(place / "run", t, r, {r: {"h": np.full(9, t, "f4")}})
            for r in (1, 2)
        ]
        store.checkpoint(t, {"w": np.full(10, t, "f4")}, parts)
    store.close("stopped")
    pack(place / "run", place / "packed.h5")
    findings = Findings.open(place / "run")
    findings.begin("exact", {"seed": 1})
    findings.add(
        "exact/round_000001/global/trace", Finding({"trace": np.arange(3.0)}, {"seconds": 1.0})
    )
    findings.add_vectors(
        "exact/round_000001/global", {"diagonal": np.arange(9.0)}, {"weights_sha256": "x"}
    )
    packed.write(
        synthetic.load(shape=(3, 5, 4), classes=3, train=40, test=10, domains=2), place / "data.h5"
    )
    return place


def digest(value: object) -> str:
    """SHA-256 of everything in nested containers and arrays."""
    arrays = {"default": lambda a: a.tolist()}
    return hashlib.sha256(pickle.dumps(plain(value, arrays))).hexdigest()


def plain(value: object, arrays: dict) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return str(value.dtype), repr(value.tolist())
    if isinstance(value, dict):
        return [(str(k), plain(v, arrays)) for k, v in value.items()]
    return [plain(v, arrays) for v in value] if isinstance(value, list | tuple) else repr(value)


def run_read(path: Path) -> str:
    run = Run.open(path)
    told = [getattr(run, field.name) for field in fields(run)]
    return digest([told, *((run.weights(t), run.client_weights(t)) for t in run.saved_rounds)])


def checkpoint_read(path: Path) -> str:
    found = checkpoint.latest(path)
    states = {client: found.state(client) for client in found.clients_held()}
    return f"round {found.round}: {digest([found.run_id, found.server, states])}"


def findings_read(path: Path) -> str:
    findings = Findings.open(path)
    known = {name: (finding.arrays, finding.facts) for name, finding in findings.found.items()}
    return digest([findings.settings, known, findings.vectors("exact/round_000001/global", "x")])


def data_read(path: Path) -> str:
    whole, some, described = packed.read(path), packed.head(path, 3), packed.describe(path)
    return digest([plain_data(whole), plain_data(some), astuple(described)])


def plain_data(dataset) -> dict:
    splits = {name: vars(getattr(dataset, name)) for name in ("train", "test")}
    return {**vars(dataset), **splits}


READERS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "run/results.h5": ("run", run_read),
    "run/models/round_000002.h5": ("run", run_read),
    "packed.h5": ("packed.h5", run_read),
    "run/checkpoint/manifest.json": ("run", checkpoint_read),
    "run/checkpoint/round_000002.server.h5": ("run", checkpoint_read),
    "run/checkpoint/round_000002.rank_0001.h5": ("run", checkpoint_read),
    "run/hessian.h5": ("run", findings_read),
    "run/hessian/exact.round_000001.global.h5": ("run", findings_read),
    "data.h5": ("data.h5", data_read),
}


SPARED = [name for name in READERS if name.startswith("run/checkpoint/round")]
"""in whose place the checkpoint before is taken"""


def check(
    folder: Path, name: str, contents: Callable[[random.Random], bytes], seeds: range
) -> set[type]:
    """Read what `contents` makes of a file, for every seed; what came of it."""
    file, (target, read) = folder / name, READERS[name]
    whole, expected = file.read_bytes(), read(folder / target)
    came = set()
    try:
        before = listing(folder, file)
        for seed in seeds:
            content = contents(random.Random(seed))
            overwrite(file, content)
            got = outcome(lambda: read(folder / target), (name, seed))
            assert isinstance(got, BadInput) or got == expected or got.startswith("round 1: "), (
                name,
                seed,
            )
            assert file.read_bytes() == content
            came.add(type(got))
        assert listing(folder, file) == before
    finally:
        overwrite(file, whole)
    return came


def listing(folder: Path, but: Path) -> list[tuple]:
    return [
        (p, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file() and p != but
    ]


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_refused_or_reads_as_it_was(folder, name):
    whole = (folder / name).read_bytes()
    came = check(folder, name, lambda chance: damaged(whole, chance), range(40))
    assert BadInput in came or name in SPARED


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_a_file_damaged_in_other_ways_is_refused_or_reads_as_it_was(folder, name):
    whole = (folder / name).read_bytes()
    check(folder, name, lambda chance: damaged(whole, chance), range(10**6, 10**6 + 20_000))


@pytest.mark.parametrize("name", READERS)
def test_every_cut_of_a_file_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    sizes = sorted(
        {*range(0, len(whole), max(1, len(whole) // 20)), *range(len(whole) - 20, len(whole))}
    )
    came = check(folder, name, lambda chance: whole[: sizes.pop()], range(len(sizes)))
    assert came == {BadInput} or name in SPARED


@pytest.mark.parametrize("name", READERS)
def test_another_file_in_a_file_s_place_is_refused(folder, name):
    others = [
        path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / name
    ]
    others += [
        b"",
        b"\0" * 5000,
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 5000,
        b'"\\ud800"',
        b"null",
        b"{}",
        b"[1]",
    ]
    others += [
        b"\x89HDF\r\n\x1a\n" + bytes(1000),
        b"PK\x03\x04" + bytes(100),
        pickle.dumps({"a": 1}),
    ]
    check(folder, name, lambda chance: others.pop(), range(len(others)))


def places(file: h5py.File) -> list[str]:
    found = []
    file.visit(found.append)
    return found


STRANGE = {
    "a text": "text",
    "a number": 7,
    "a negative number": -1,
    "a large number": 2**62,
    "nothing": h5py.Empty("f4"),
    "an empty list": np.zeros(0),
    "a table": np.full((2, 3), np.nan),
    "bytes": np.void(b"\1\2"),
}


def estranged(file: h5py.File, chance: random.Random) -> None:
    """A sound file whose contents are not what they should be."""
    place = chance.choice([*places(file), "/"])
    strange = chance.choice(list(STRANGE.values()))
    attributes = file[place].attrs if file.get(place) is not None else {}
    if len(attributes) and (place == "/" or chance.random() < 0.3):
        name = chance.choice(list(attributes))
        del attributes[name]
        if chance.random() < 0.8:
            attributes[name] = strange
    elif place != "/":
        del file[place]
        if chance.random() < 0.2:
            file.create_group(place)
        elif chance.random() < 0.8:
            file[place] = strange


def estrangements(file: Path, number: int) -> Iterator[int]:
    """Seeds, for each of which the file is a strange one; in the end it is what it was."""
    whole = file.read_bytes()
    try:
        for seed in range(number):
            overwrite(file, whole)
            with edited(file) as content:
                estranged(content, random.Random(seed))
            yield seed
    finally:
        overwrite(file, whole)


@pytest.mark.parametrize(
    "name", [name for name in READERS if name.endswith(".h5") and "checkpoint" not in name]
)
def test_a_sound_file_of_another_layout_is_refused_or_read(folder, name):
    target, read = READERS[name]
    for seed in estrangements(folder / name, 30):
        outcome(lambda: read(folder / target), (name, seed))


def test_a_strange_run_is_shown_and_packed_or_refused_in_one_line(folder, tmp_path):
    run = str(folder / "run")
    for seed in estrangements(folder / "run" / "results.h5", 25):
        for command in (["show", run], ["pack", run, "--force", "-o", str(tmp_path / "out.h5")]):
            result = CliRunner().invoke(main, command)
            assert result.exit_code == 0 or (result.exit_code, result.stderr.count("\n")) == (
                2,
                1,
            ), (seed, result)


def resumed(path: Path, round: int) -> Store:
    return Store.resume(
        path, config=CONFIG, layout=LAYOUT, partition=PARTITION, round=round, provenance={}
    )


OWNERS = [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"9" * 5000, b'{"pid": 1}']
OWNERS += [b'{"format": 3, "token": [], "pid": {}}', b'{"format": "mpifl-run"}']


@pytest.mark.parametrize("content", OWNERS)
def test_a_strange_owner_is_nobody_and_a_writer_stops(tmp_path, folder, content):
    shutil.copytree(folder / "run", tmp_path / "run")
    store = resumed(tmp_path / "run", 2)
    (tmp_path / "run" / "owner.json").write_bytes(content)
    with pytest.raises(Superseded) as caught:
        store.close()
    assert str(caught.value).isprintable()
    assert is_run(tmp_path / "run")
    (tmp_path / "run" / "results.h5").unlink()
    assert not is_run(tmp_path / "run")
    with pytest.raises(BadInput):
        check_free(tmp_path / "run", force=True)


@pytest.mark.parametrize("name", [name for name in READERS if name.startswith("run/")])
def test_resume_alone_with_a_damaged_run_goes_on_rightly_or_changes_nothing(tmp_path, folder, name):
    shutil.copytree(folder / "run", tmp_path / "run")
    file = tmp_path / name
    whole = file.read_bytes()
    for seed in range(8):
        content = damaged(whole, random.Random(seed))
        overwrite(file, content)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        if isinstance(outcome(lambda: gone_on(tmp_path / "run"), (name, seed)), BadInput):
            assert {
                path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
            } == before
        else:
            shutil.rmtree(tmp_path / "run")
            shutil.copytree(folder / "run", tmp_path / "run")


def gone_on(path: Path) -> None:
    found = checkpoint.latest(path)
    for client in found.clients_held():
        found.state(client)
    resumed(path, found.round)
    assert Run.open(path).rounds["round"].tolist() == list(range(1, found.round + 1))
