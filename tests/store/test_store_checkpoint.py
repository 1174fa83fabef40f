"""Checkpoints: after a kill, damage or a full disk, the newest intact one is found, whole."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mpifl.options import BadInput
from mpifl.store import Superseded, checkpoint, checksum, pack

CONFIG = "rounds = 5\n[local]\nlr = 0.1\n"


def write(folder: Path, round: int, ranks: int = 3, clients: int = 7, size: int = 10) -> None:
    """A checkpoint whose every value tells its round and, in states, its client (rank: client
    modulo ranks).
    """
    parts = []
    for rank in range(ranks):
        held = range(rank, clients, ranks)
        states = {c: {"h": np.full(size, 100 * round + c, "f4"), "n": np.array(c)} for c in held}
        parts.append(checkpoint.write_part(folder, round, rank, states))
    server = {"w": np.full(size, round, "f4"), "buffers": np.full(0, round, "f4")}
    checkpoint.commit(folder, round, server, parts, run_id="this", config=CONFIG)


def check_whole(folder: Path) -> int:
    """The round of the latest checkpoint, all of whose values are seen to be of it."""
    found = checkpoint.latest(folder)
    assert (found.server["w"] == found.round).all() and found.clients_held() == list(range(7))
    for c in found.clients_held():
        assert (found.state(c)["h"] == 100 * found.round + c).all() and found.state(c)["n"] == c
    return found.round


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoint").iterdir())


def test_without_a_commit_there_is_no_checkpoint(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    checkpoint.write_part(tmp_path, 1, 0, {})
    assert checkpoint.latest(tmp_path) is None


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?", ">f4", "f2"])
def test_vectors_come_back_as_they_were_in_order_shape_and_precision(tmp_path, dtype):
    values = np.arange(12).astype(dtype)
    state = {
        "z": values,
        "a": values.reshape(3, 4)[:, ::2],
        "scalar": values[1],
        "empty": values[:0],
    }
    part = checkpoint.write_part(
        tmp_path, 4, 0, {9: state, 2: {name: np.zeros_like(v) for name, v in state.items()}}
    )
    checkpoint.commit(tmp_path, 4, state, [part], run_id="this", config=CONFIG)
    found = checkpoint.latest(tmp_path)
    assert (found.round, found.run_id, found.warning, found.clients_held()) == (
        4,
        "this",
        "",
        [2, 9],
    )
    for got in (found.server, found.state(9)):
        assert list(got) == list(state)
        for name, expected in state.items():
            assert (
                got[name].dtype == np.dtype(dtype).newbyteorder("=")
                and got[name].shape == expected.shape
            )
            np.testing.assert_array_equal(got[name], expected)
    assert not found.state(2)["z"].any()


def test_names_of_vectors_may_have_dots(tmp_path):
    state = {"algorithm.c": np.ones(2), "momentum": np.zeros(3), "loop.previous": np.ones(1)}
    part = checkpoint.write_part(tmp_path, 1, 0, {5: state})
    server = {"server.c": np.ones(2), "means.all": np.zeros(2)}
    checkpoint.commit(tmp_path, 1, server, [part], run_id="this", config=CONFIG)
    found = checkpoint.latest(tmp_path)
    for got, expected in ((found.state(5), state), (found.server, server)):
        assert list(got) == list(expected)
        for name in expected:
            np.testing.assert_array_equal(got[name], expected[name])


def test_states_written_by_some_ranks_are_read_by_any_number(tmp_path):
    write(tmp_path, 3, ranks=3)
    assert check_whole(tmp_path) == 3
    write(tmp_path, 4, ranks=1)
    assert check_whole(tmp_path) == 4
    write(tmp_path, 5, ranks=9)  # of which two hold no client
    assert check_whole(tmp_path) == 5
    with pytest.raises(KeyError):
        checkpoint.latest(tmp_path).state(7)


def test_the_states_of_many_clients_are_read_file_by_file_each_opened_once(tmp_path, monkeypatch):
    write(tmp_path, 3, ranks=3)
    found = checkpoint.latest(tmp_path)
    opened = checksum.opened
    paths = []

    def record(path: Path):
        paths.append(path)
        return opened(path)

    monkeypatch.setattr(checksum, "opened", record)
    states = dict(found.states([6, 1, 0, 5, 4]))
    assert sorted(states) == [0, 1, 4, 5, 6]
    for client, state in states.items():
        assert (state["h"][0], state["n"]) == (300 + client, client)
    assert [path.name[-12:] for path in paths] == ["rank_0000.h5", "rank_0001.h5", "rank_0002.h5"]


def test_at_most_two_checkpoints_are_kept_and_nothing_of_others(tmp_path):
    for round in (1, 2, 7, 7, 10):
        write(tmp_path, round, ranks=3)
        checkpoint.write_part(tmp_path, round, 8, {})  # of a rank killed before its commit
    write(tmp_path, 11, ranks=1)
    (tmp_path / "checkpoint" / "mine.txt").write_text("x")
    write(tmp_path, 12, ranks=1)
    rounds = [
        f"round_0000{round}.{part}.h5" for round in (11, 12) for part in ("rank_0000", "server")
    ]
    assert names(tmp_path) == sorted(["manifest.json", "mine.txt", *rounds])


def overwrite(path: Path, content: bytes | bytearray) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    overwrite(path, content)


DAMAGES = {
    "truncated": lambda path: overwrite(path, path.read_bytes()[:-1]),
    "torn": lambda path: overwrite(path, b""),
    "flipped": flip,
    "missing": lambda path: path.unlink(),
    "grown": lambda path: overwrite(path, path.read_bytes() + b"\0"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("part", ["server", "rank_0001"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before_and_says_so(
    tmp_path, damage, part
):
    write(tmp_path, 1)
    write(tmp_path, 2)
    damage(tmp_path / "checkpoint" / f"round_000002.{part}.h5")
    before = names(tmp_path)
    assert check_whole(tmp_path) == 1
    warning = checkpoint.latest(tmp_path).warning
    assert (
        "going back to round 1" in warning
        and f"round_000002.{part}.h5" in warning
        and "\n" not in warning
    )
    damage(tmp_path / "checkpoint" / f"round_000001.{part}.h5")
    with pytest.raises(
        BadInput,
        match=rf"damaged ones: round 2: round_000002.{part}.* round 1: round_000001.{part}",
    ):
        checkpoint.latest(tmp_path)
    assert len(set(before) - set(names(tmp_path))) in (0, 1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: "", "damaged"),
        (lambda text: text[:-20], "damaged"),
        (lambda text: "[]", "damaged"),
        (lambda text: text.replace("this", "that"), "damaged"),
        (lambda text: text.replace('"round": 1', '"round": 3'), "damaged"),
        (lambda text: text.replace("mpifl-checkpoint", "another"), "something else"),
        (
            lambda text: text.replace('"format_version": 1', '"format_version": 2'),
            "got 2; update mpifl",
        ),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused_in_one_line(tmp_path, change, what):
    write(tmp_path, 1)
    path = tmp_path / "checkpoint" / "manifest.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(BadInput, match=what) as caught:
        checkpoint.latest(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_state_whose_file_has_gone_is_named(tmp_path):
    write(tmp_path, 1)
    found = checkpoint.latest(tmp_path)
    (tmp_path / "checkpoint" / "round_000001.rank_0001.h5").unlink()
    with pytest.raises(
        BadInput, match=r"round_000001\.rank_0001\.h5: expected the state of client 1"
    ):
        found.state(1)


@pytest.mark.parametrize(
    "states",
    [
        {1: {"h": np.zeros(3)}, 2: {"h": np.zeros(4)}},
        {1: {}, 2: {"h": np.zeros(4)}},
        {1: {"h": np.zeros(3, "f4")}, 2: {"h": np.zeros(3, "f8")}},
        {1: {"a/b": np.zeros(3)}},
        {1: {"h": np.array(["text"])}},
        {1: {"h": np.array([None])}},
    ],
    ids=["size", "names", "dtype", "slash", "text", "object"],
)
def test_states_that_differ_or_cannot_be_stored_are_refused_before_anything_is_written(
    tmp_path, states
):
    with pytest.raises(ValueError, match="expected"):
        checkpoint.write_part(tmp_path, 1, 0, states)
    assert not (tmp_path / "checkpoint").exists()


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    one, two = (checkpoint.write_part(tmp_path, 1, rank, {5: {}}) for rank in range(2))
    for parts in (
        [one, two],
        [one._replace(clients=()), one],
        [one._replace(name="round_000002.rank_0000.h5")],
    ):
        with pytest.raises(ValueError, match="expected"):
            checkpoint.commit(tmp_path, 1, {}, parts, run_id="this", config=CONFIG)
    assert checkpoint.latest(tmp_path) is None


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store_checkpoint import write
print("ready", flush=True)
for round in range(int(sys.argv[3]), 10**6):
    write(Path(sys.argv[2]), round, size=20_000)
    print(round, flush=True)
"""


@contextmanager
def writer(folder: Path, first: int) -> Iterator[subprocess.Popen]:
    """A program that writes checkpoint after checkpoint and tells each, until it is killed."""
    command = [sys.executable, "-c", WRITER, Path(__file__).parent, folder, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_whole_checkpoint_to_go_on_from(tmp_path):
    write(tmp_path, 1)
    moments, reached = random.Random(3), 1
    for commits in (0, 1, 0, 2, 0, 1, 0, 0):
        with writer(tmp_path, reached + 1) as process:
            told = [int(process.stdout.readline()) for _ in range(commits)]
            time.sleep(moments.uniform(0, 0.06))
        before, reached = reached, check_whole(tmp_path)
        assert reached >= max([before, *told]) and checkpoint.latest(tmp_path).warning == ""
    assert reached > 4


@pytest.mark.slow
def test_reading_while_a_writer_goes_on_is_always_whole(tmp_path):
    write(tmp_path, 1, size=20_000)
    seen = set()
    with writer(tmp_path, 2) as process:
        while len(seen) < 8:
            found = checkpoint.latest(tmp_path)
            assert (found.server["w"] == found.round).all()
            seen.add(found.round)
            assert process.poll() is None


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store_checkpoint import write
for limit in map(int, sys.argv[3:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write(Path(sys.argv[2]), 2, size=100_000)
    except OSError as problem:
        assert str(problem).startswith("[Errno 27]") and "round_000002" in problem.filename, problem
    else:
        sys.exit("written beyond the limit")
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    write(tmp_path, 1)
    limits = ["0", "1", "3000", "100000", "1500000"]
    subprocess.run(
        [sys.executable, "-c", FULL, Path(__file__).parent, tmp_path, *limits], check=True
    )
    assert check_whole(tmp_path) == 1 and not any(name.endswith(".tmp") for name in names(tmp_path))
    write(tmp_path, 2)
    assert check_whole(tmp_path) == 2


def test_a_refused_commit_leaves_the_last_checkpoint(tmp_path):
    write(tmp_path, 1)

    def refuse():
        raise Superseded("taken over")

    with pytest.raises(Superseded):
        checkpoint.commit(tmp_path, 2, {}, [], run_id="this", config=CONFIG, check=refuse)
    with pytest.raises(Superseded):
        checkpoint.write_part(tmp_path, 1, 0, {}, refuse)
    assert check_whole(tmp_path) == 1


@pytest.mark.slow
def test_the_states_are_not_copied(tmp_path):
    code = (
        "import resource, sys, numpy as np; from pathlib import Path\n"
        "from mpifl.store import checkpoint\n"
        "states = {c: {'h': np.ones(2_000_000, 'f4')} for c in range(20)}\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "checkpoint.write_part(Path(sys.argv[1]), 1, 0, states)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 30_000  # kB, of 160 MB of states


def test_a_pack_leaves_the_checkpoints_out(run, tmp_path):
    pack(run, tmp_path / "without.h5")
    write(run, 5)
    pack(run, tmp_path / "with.h5")
    assert (tmp_path / "with.h5").read_bytes() == (tmp_path / "without.h5").read_bytes()
