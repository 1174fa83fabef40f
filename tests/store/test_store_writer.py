"""Store: rows and weights are read as they were written; a folder has one writer, the last to claim
it.
"""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from store.stored import LAYOUT, PARTITION

from mpifl.options import BadInput
from mpifl.store import Refused, Run, Store, Superseded, pack


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_folder_opens_before_the_first_round(tmp_path, create):
    create(tmp_path / "deep" / "run")
    run = Run.open(tmp_path / "deep" / "run")
    assert (run.status, run.seed, run.config) == ("running", 7, 'name = "tiny"\n')
    assert (
        len(run.rounds["round"]) == 0
        and run.clients["participated"].shape == (0, 4)
        and run.saved_rounds == []
    )


def test_rows_are_read_as_they_were_appended(run):
    rounds = Run.open(run).rounds
    assert rounds["round"].tolist() == [1, 2, 3, 4, 5]
    assert rounds["bytes_up"].dtype == "i8" and rounds["bytes_up"].tolist() == [
        100,
        200,
        300,
        400,
        500,
    ]
    assert rounds["test_accuracy"].dtype == "f8" and rounds["test_accuracy"].tolist() == [
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
    ]
    assert rounds["sha256"][2] == f"{3:064x}"


def test_client_columns_hold_the_cohort_and_nan_elsewhere(run):
    clients = Run.open(run).clients
    nan = np.nan
    expected = [
        [nan, 1, -1, nan],
        [nan, nan, 2, -2],
        [-3, nan, nan, 3],
        [4, -4, nan, nan],
        [nan, 5, -5, nan],
    ]
    assert clients["loss"].dtype == "f4" and clients["participated"].dtype == "u1"
    np.testing.assert_array_equal(clients["loss"], expected)
    np.testing.assert_array_equal(clients["participated"], ~np.isnan(expected))


def test_late_columns_are_filled_backwards(tmp_path, create):
    store = create(tmp_path / "run")
    store.append(1, {}, {}, [0])
    store.append(2, {"a": 0.5, "n": 3, "s": "x", "mixed": 1}, {"loss": [1.0]}, [2])
    store.append(3, {"mixed": 0.5}, {}, [])
    rounds = Run.open(tmp_path / "run").rounds
    np.testing.assert_array_equal(rounds["a"], [np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(rounds["mixed"], [np.nan, 1, 0.5])
    assert rounds["n"].tolist() == [-1, 3, -1] and rounds["s"].tolist() == ["", "x", ""]
    np.testing.assert_array_equal(
        Run.open(tmp_path / "run").clients["loss"][:, 2], [np.nan, 1, np.nan]
    )


def test_an_evaluation_is_added_to_the_last_round_once(tmp_path, create):
    store = create(tmp_path / "run")
    store.append(1, {"lr": 0.5}, {}, [0])
    store.append(2, {"lr": 0.25}, {}, [0])
    counts = {"test_right_by_class": np.array([3, 4])}
    with pytest.raises(ValueError, match="expected round 2, the last one; got 1"):
        store.add_evaluation(1, {"test_accuracy": 0.5}, counts)
    store.add_evaluation(2, {"test_accuracy": 0.5}, counts)
    with pytest.raises(ValueError, match="expected new values for round 2; got .'test_accuracy'"):
        store.add_evaluation(2, {"test_accuracy": 0.75}, counts)
    store.close()
    read = Run.open(tmp_path / "run")
    np.testing.assert_array_equal(read.rounds["test_accuracy"], [np.nan, 0.5])
    assert read.rounds["lr"].tolist() == [0.5, 0.25]
    assert read.evaluations["round"].tolist() == [2]


def test_many_rounds_outgrow_the_first_arrays(tmp_path, create, add_round):
    store = create(tmp_path / "run", commit_seconds=1e9)
    for t in range(1, 201):
        add_round(store, t)
    store.close()
    loss = Run.open(tmp_path / "run").clients["loss"]
    assert all(loss[t - 1, t % 4] == t for t in range(1, 201)) and np.isnan(loss).sum() == 400


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_weights_keep_their_precision_and_come_with_those_of_clients(tmp_path, create, dtype):
    store = create(tmp_path / "run")
    rng = np.random.default_rng(1)
    w, b = rng.random(10).astype(dtype), rng.random(2).astype("f4")
    clients, client_buffers = rng.random((3, 10)).astype(dtype), rng.random((3, 2)).astype("f4")
    store.weights(6, w, b, clients, client_buffers, [0, 2, 3])
    store.weights(3, w)
    store.close()
    run = Run.open(tmp_path / "run")
    assert run.saved_rounds == [3, 6] and run.weights()[0].dtype == dtype
    for got, expected in zip(
        run.weights(6) + run.client_weights(6)[1:], (w, b, clients, client_buffers), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    assert run.client_weights(6)[0].tolist() == [0, 2, 3] and run.weights(3)[1].shape == (0,)


def test_weights_are_seen_from_the_next_commit_on(tmp_path, create):
    store = create(tmp_path / "run", commit_seconds=1e9)
    store.weights(1, np.zeros(10, "f4"))
    assert Run.open(tmp_path / "run").saved_rounds == []
    store.commit()
    assert Run.open(tmp_path / "run").saved_rounds == [1]


def test_a_commit_comes_only_when_due(tmp_path, create, add_round):
    rare, each = (
        create(tmp_path / "rare", commit_seconds=1e9),
        create(tmp_path / "each", commit_seconds=0),
    )
    for store in (rare, each):
        add_round(store, 1)
    assert (
        len(Run.open(rare.folder).rounds["round"]) == 0
        and len(Run.open(each.folder).rounds["round"]) == 1
    )


@pytest.mark.parametrize(
    ("round", "row", "clients", "ids"),
    [
        (1, {}, {}, [0]),
        (3, {"round": 1.0}, {}, [0]),
        (3, {"sha256": 5}, {}, [0]),
        (3, {"bytes_up": "many"}, {}, [0]),
        (3, {"what": None}, {}, [0]),
        (3, {}, {"loss": [1.0]}, [0, 1]),
        (3, {}, {"client": [1.0]}, [0]),
        (3, {}, {}, [4]),
        (3, {}, {}, [1, 1]),
    ],
    ids=[
        "old round",
        "reserved",
        "number as text",
        "text as number",
        "none",
        "length",
        "reserved",
        "unknown",
        "twice",
    ],
)
def test_a_wrong_row_is_refused_and_changes_nothing(
    tmp_path, create, add_round, round, row, clients, ids
):
    store = create(tmp_path / "run")
    add_round(store, 2)
    with pytest.raises((ValueError, TypeError), match="expected"):
        store.append(round, row, clients, ids)
    add_round(store, 3)
    loss = Run.open(tmp_path / "run").clients["loss"]
    np.testing.assert_array_equal(loss, [[np.nan, np.nan, 2, -2], [-3, np.nan, np.nan, 3]])


@pytest.mark.parametrize("status", ["complete", "stopped", "failed"])
def test_a_closed_run_says_how_it_ended_and_takes_no_more(tmp_path, create, add_round, status):
    store = create(tmp_path / "run", commit_seconds=1e9)
    add_round(store, 1)
    store.close(status)
    store.close()
    run = Run.open(tmp_path / "run")
    assert run.status == status and len(run.rounds["round"]) == 1
    with pytest.raises(RuntimeError, match="closed"):
        add_round(store, 2)


def test_provenance_and_config_survive_what_environments_hold(tmp_path, create):
    provenance = {
        "bytes": os.fsdecode(b"a\xff"),
        "flag": True,
        "none": [],
        "host": ["é"] * 1000,
        "nul": "a\0b",
    }
    create(tmp_path / "run", provenance=provenance, config="# é\n" * 30_000)
    run = Run.open(tmp_path / "run")
    assert run.provenance == {
        "bytes": "a�",
        "flag": 1,
        "none": [],
        "host": ["é"] * 1000,
        "nul": "a�b",
    }
    assert run.config == "# é\n" * 30_000


@pytest.mark.slow
def test_lists_longer_than_an_hdf5_attribute_come_back_after_a_resume_and_a_pack(
    tmp_path, create, add_round
):
    """An attribute holds 64 kB, 16 bytes for each text."""
    hosts = [f"node{number:05d}" for number in range(70_000)]
    many = {"host": hosts, "threads": list(range(70_000)), "ranks": 70_000}
    store = create(tmp_path / "run", provenance=many)
    add_round(store, 1)
    store.checkpoint(1, {}, [])
    store.close("stopped")
    Store.resume(
        tmp_path / "run",
        config='name = "tiny"\n',
        layout=LAYOUT,
        partition=PARTITION,
        round=1,
        provenance=many,
    ).close()
    pack(tmp_path / "run", tmp_path / "one.h5")
    for path in (tmp_path / "run", tmp_path / "one.h5"):
        run = Run.open(path)
        assert run.provenance == many
        [resume] = run.resumes
        assert {name: resume[name] for name in many} == many


def test_a_taken_place_is_refused_and_left_as_it_is(tmp_path, create, run):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "results.h5").write_text("not HDF5")
    (tmp_path / "foreign" / "owner.json").write_text('["not ours"]')
    before = snapshot(tmp_path)
    for folder, force, what in [
        ("run", False, "got a run"),
        ("foreign", False, "other files"),
        ("foreign", True, "other files"),
        ("file", True, "not a folder"),
        ("file/deeper/run", True, "not one"),
    ]:
        with pytest.raises(BadInput, match=what):
            create(tmp_path / folder, force=force)
    assert snapshot(tmp_path) == before


def test_a_place_without_permission_is_refused_before_anything_is_made(tmp_path, create):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write anywhere")
    with pytest.raises(BadInput, match="permission"):
        create(tmp_path / "deep" / "run")
    assert list(tmp_path.iterdir()) == []


def test_force_removes_the_run_and_its_analysis_but_nothing_else(tmp_path, create, run):
    (run / "checkpoint").mkdir(exist_ok=True)
    parts = (
        "manifest.json",
        "round_000003.server.h5",
        "round_000003.rank_0001.h5",
        ".round_000003.h5.0123abcd.tmp",
    )
    mine = {"notes.md", "models/mine.h5", "checkpoint/mine.h5"}
    for name in (
        "hessian.h5",
        ".results.h5.0123abcd.tmp",
        *mine,
        *(f"checkpoint/{part}" for part in parts),
    ):
        (run / name).write_text("x")
    create(run, force=True)
    assert set(snapshot(run)) == {"results.h5", "owner.json", "checkpoint/manifest.json"} | mine
    (run / "checkpoint" / "mine.h5").unlink()
    create(run, force=True)
    assert [path.name for path in (run / "checkpoint").iterdir()] == ["manifest.json"]
    assert Run.open(run).saved_rounds == []


def test_force_follows_no_link_out_of_the_run(tmp_path, create, run):
    (run / "models").rename(tmp_path / "elsewhere")
    (run / "models").symlink_to(tmp_path / "elsewhere")
    create(run, force=True)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2 and not (run / "models").exists()


def test_a_run_killed_before_its_first_commit_can_be_replaced(tmp_path, create, run):
    (run / "results.h5").unlink()
    with pytest.raises(BadInput, match="got a run"):
        create(run)
    assert create(run, force=True).run_id == Run.open(run).run_id


def test_a_run_killed_while_it_claimed_its_folder_does_not_block_the_next(tmp_path, create):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".owner.json.0123abcd.tmp").write_text('{"format": "mp')
    create(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint",
        "owner.json",
        "results.h5",
    ]


def test_the_older_of_two_writers_stops_and_writes_nothing_more(tmp_path, create, add_round):
    older = create(tmp_path / "run")
    add_round(older, 1)
    newer = create(tmp_path / "run", force=True)
    add_round(newer, 1, save=True)
    before = snapshot(tmp_path)
    for act in (
        lambda: add_round(older, 2),
        lambda: older.weights(2, np.zeros(10, "f4")),
        older.commit,
        lambda: older.close("failed"),
    ):
        with pytest.raises(Superseded, match=f"process {os.getpid()}"):
            act()
    assert snapshot(tmp_path) == before
    add_round(newer, 2)
    assert Run.open(tmp_path / "run").run_id == newer.run_id


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE])
def test_an_owner_file_that_cannot_be_read_is_not_taken_over(tmp_path, create, monkeypatch, number):
    def fail(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    store = create(tmp_path / "run")
    with monkeypatch.context() as failing:
        failing.setattr(os, "open", fail)
        with pytest.raises(Refused, match=os.strerror(number)):
            store.owner.check()
