"""Store.resume: a resumed run equals one that was never stopped; any other run is refused and left
as it is.
"""

import os
import shutil

import numpy as np
import pytest
from damage import cut
from test_store_writer import snapshot

from mpifl.options import BadInput
from mpifl.store import Entry, Run, Store, Superseded, checkpoint, hdf5_layout

CONFIG = """
name = "tiny"
rounds = 6
[local]
lr = 0.1
epochs = 2
[evaluation]
every = 1
batch = 500
[results]
weights_every = 2
"""


@pytest.fixture
def begin(create):
    """begin(folder) -> Store with CONFIG."""
    return lambda folder, **changed: create(folder, **({"config": CONFIG} | changed))


def layout_of(folder) -> list[Entry]:
    try:
        return Run.open(folder).layout
    except BadInput:
        return []


def partition_of(folder) -> tuple:
    try:
        run = Run.open(folder)
    except BadInput:
        return np.zeros(0, "i8"), np.zeros(1, "i8"), np.zeros((0, 0), "i8")
    return run.indices, run.offsets, run.label_counts


def resume(folder, round, **changed) -> Store:
    given = {
        "config": CONFIG,
        "layout": layout_of(folder),
        "partition": partition_of(folder),
        "provenance": {"ranks": 5},
        "commit_seconds": 0.0,
    }
    return Store.resume(folder, round=round, **(given | changed))


def add_checkpoint(store: Store, round: int) -> None:
    ranks = [{round % 4: {"h": np.full(3, round, "f4")}}, {}]
    check = store.owner.check
    parts = [
        checkpoint.write_part(store.folder, round, rank, states, check)
        for rank, states in enumerate(ranks)
    ]
    store.checkpoint(round, {"w": np.full(10, round, "f4")}, parts)


def same(mine, theirs) -> None:
    assert list(mine) == list(theirs)
    for name in mine:
        assert mine[name].dtype == theirs[name].dtype
        np.testing.assert_array_equal(mine[name], theirs[name])


@pytest.mark.parametrize(
    ("stop", "beyond"),
    [
        (0, 0),
        pytest.param(0, 2, marks=pytest.mark.slow),
        pytest.param(1, 0, marks=pytest.mark.slow),
        pytest.param(1, 2, marks=pytest.mark.slow),
        pytest.param(3, 0, marks=pytest.mark.slow),
        (3, 2),
        pytest.param(4, 0, marks=pytest.mark.slow),
        (4, 2),
        pytest.param(6, 0, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_has_the_rows_and_weights_of_one_never_stopped(
    once, tmp_path, begin, add_round, stop, beyond
):
    def make(folder):
        whole = begin(folder)
        for t in range(1, 7):
            add_round(whole, t, save=t % 2 == 0)
        whole.close()

    whole = once(f"never-stopped-{hdf5_layout.LARGEST_BY_ROUND}", make)
    stopped = begin(tmp_path / "stopped")
    for t in range(1, min(stop + beyond, 6) + 1):
        add_round(stopped, t, save=t % 2 == 0)
        if t <= stop:
            add_checkpoint(stopped, t)
    store = resume(tmp_path / "stopped", stop)
    assert (
        Run.open(store.folder).status == "running"
        and len(Run.open(store.folder).rounds["round"]) == stop
    )
    for t in range(stop + 1, 7):
        add_round(store, t, save=t % 2 == 0)
    store.close()
    mine, theirs = Run.open(store.folder), Run.open(whole)
    same(mine.rounds, theirs.rounds)
    same(mine.clients, theirs.clients)
    assert mine.saved_rounds == theirs.saved_rounds == [2, 4, 6] and mine.status == "complete"
    for t in (2, 4, 6):
        saved = [run.weights(t) + run.client_weights(t) for run in (mine, theirs)]
        for one, other in zip(*saved, strict=True):
            np.testing.assert_array_equal(one, other)


def test_columns_that_came_late_or_grew_wider_are_as_if_never_stopped(tmp_path, begin):
    rows = [
        {"n": 1, "s": "x"},
        {"n": 2},
        {"n": 3, "late": 0.5, "text": "y"},
        {"n": 0.5, "late": 1, "s": "z"},
    ]
    whole, stopped = begin(tmp_path / "whole"), begin(tmp_path / "stopped")
    for t, row in enumerate(rows, 1):
        whole.append(t, row, {"loss": [t]} if t % 2 else {}, [t % 4])
    for stop in (1, 2, 3):
        for t in (stop, stop + 1):  # the latter to be done again
            stopped.append(t, rows[t - 1], {"loss": [t]} if t % 2 else {}, [t % 4])
        stopped = resume(stopped.folder, stop)
    stopped.append(4, rows[3], {}, [0])
    same(Run.open(stopped.folder).rounds, Run.open(whole.folder).rounds)
    same(Run.open(stopped.folder).clients, Run.open(whole.folder).clients)


@pytest.mark.slow
def test_more_rounds_than_the_first_arrays_hold_are_resumed(tmp_path, begin, add_round):
    store = begin(tmp_path / "run", commit_seconds=1e9)
    for t in range(1, 101):
        add_round(store, t)
    store.close()
    store = resume(store.folder, 99)
    for t in range(100, 151):
        add_round(store, t)
    loss = Run.open(store.folder).clients["loss"]
    assert all(loss[t - 1, t % 4] == t for t in range(1, 151)) and np.isnan(loss).sum() == 300


def test_the_run_stays_itself_and_tells_each_resume(tmp_path, begin, add_round):
    store = begin(tmp_path / "run")
    add_round(store, 1)
    first = Run.open(store.folder)
    longer = CONFIG.replace("rounds = 6", "rounds = 9")
    resume(store.folder, 1, provenance={"ranks": 2, "hosts": ["n7", "n8"]})
    resume(store.folder, 0, config=longer)
    run = Run.open(store.folder)
    assert (
        run.config == longer and run.provenance == first.provenance and run.layout == first.layout
    )
    assert all(run.attrs[name] == first.attrs[name] for name in ("run_id", "created", "seed"))
    assert [(r["round"], r["ranks"]) for r in run.resumes] == [
        (1, 2),
        (0, 5),
    ] and first.resumes == []
    assert (
        run.resumes[0]["hosts"] == ["n7", "n8"] and run.resumes[0]["time"] >= run.attrs["created"]
    )
    np.testing.assert_array_equal(run.indices, first.indices)
    np.testing.assert_array_equal(run.offsets, first.offsets)


def test_what_may_change_may_change(tmp_path, begin):
    begin(tmp_path / "run")
    changed = (
        CONFIG.replace("tiny", "other")
        .replace("rounds = 6", "rounds = 7")
        .replace("every = 1", "every = 2")
    )
    changed += "clients_every = 3\n[runtime]\nthreads = 4\n"
    changed = changed.replace("batch = 500", "target_accuracy = 0.5\nbatch = 500")
    assert resume(tmp_path / "run", 0, config=changed).run_id == Run.open(tmp_path / "run").run_id


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("lr = 0.1", "lr = 0.2", r"local\.lr: expected 0\.1, as the run was begun; got 0\.2;"),
        ("epochs = 2", "epochs = 2.0", r"local\.epochs: expected 2, .* got 2\.0;"),
        ("batch = 500", "batch = 100", r"evaluation\.batch: expected 500, .* got 100;"),
        ("epochs = 2", "", r"local\.epochs: expected 2, .* got no such option;"),
        (
            "lr = 0.1",
            "lr = 0.1\nmomentum = 0.9",
            r"local\.momentum: expected no such option, .* got 0\.9;",
        ),
        ("rounds = 6", "rounds = 5", r"rounds: expected 6 or more, .* got 5"),
        ("rounds = 6", "seed = 1\nrounds = 6", r"seed: expected no such option, .* got 1;"),
    ],
)
def test_another_config_is_refused_by_the_first_key_and_nothing_is_touched(
    tmp_path, begin, old, new, what
):
    begin(tmp_path / "run")
    before = snapshot(tmp_path)
    with pytest.raises(BadInput, match=what) as caught:
        resume(tmp_path / "run", 0, config=CONFIG.replace(old, new))
    assert snapshot(tmp_path) == before and "\n" not in str(caught.value)


def test_another_model_is_refused_and_nothing_is_touched(tmp_path, begin):
    begin(tmp_path / "run")
    first, *others = layout_of(tmp_path / "run")
    before = snapshot(tmp_path)
    for layout, what in [
        (
            [first._replace(shape=(9,)), *others],
            r"expected parameter layer\.weight of shape \(3, 3\) at 0; got",
        ),
        ([first, *others[:-1]], "got no more tensors"),
        ([first, *others, Entry("more", "buffer", (1,), 2, 1)], "expected no more tensors"),
    ]:
        with pytest.raises(BadInput, match=what):
            resume(tmp_path / "run", 0, layout=layout)
    assert snapshot(tmp_path) == before


def test_what_is_no_run_to_go_on_with_is_refused_and_nothing_is_touched(
    tmp_path, begin, add_round, run
):
    store, other = begin(tmp_path / "mine"), begin(tmp_path / "other")
    for t in (1, 2):
        add_round(store, t)
        add_checkpoint(store, t)
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "results.h5").write_bytes(
        (store.folder / "results.h5").read_bytes()[:5000]
    )
    shutil.rmtree(other.folder / "checkpoint")
    (store.folder / "checkpoint").rename(other.folder / "checkpoint")
    for t in (1, 2):
        add_round(other, t)
    before = snapshot(tmp_path)
    for folder, round, what in [
        ("missing", 0, "No such file"),
        ("empty", 0, "No such file"),
        ("torn", 0, "cut short"),
        ("mine", 3, "expected rounds up to 3, that of the checkpoint; got rounds up to 2"),
        (
            "other",
            2,
            f"expected checkpoints of run {other.run_id}; got those of run {store.run_id}",
        ),
    ]:
        with pytest.raises(BadInput, match=what):
            resume(tmp_path / folder, round)
    assert snapshot(tmp_path) == before


def test_a_checkpoint_of_another_config_or_round_is_refused(tmp_path, begin, add_round):
    store = begin(tmp_path / "run")
    for t in (1, 2, 3, 4):
        add_round(store, t)
    add_checkpoint(store, 2)
    with pytest.raises(
        BadInput, match=r"expected a checkpoint of round 3; got only those of rounds \[2\]"
    ):
        resume(store.folder, 3)
    other = CONFIG.replace("0.1", "0.2")
    checkpoint.commit(store.folder, 4, {}, [], run_id=store.run_id, config=other)
    with pytest.raises(BadInput, match="of another config"):
        resume(store.folder, 4)
    assert resume(store.folder, 2).run_id == store.run_id


def test_checkpoints_of_rounds_gone_back_on_are_forgotten(tmp_path, begin, add_round):
    store = begin(tmp_path / "run")
    for t in (1, 2):
        add_round(store, t)
        add_checkpoint(store, t)
    checkpoint.write_part(store.folder, 9, 0, {})
    cut(store.folder / "checkpoint" / "round_000002.server.h5", 100)
    (store.folder / "checkpoint" / ".round_000009.server.h5.0123abcd.tmp").write_text("x")
    found = checkpoint.latest(store.folder)
    store = resume(store.folder, found.round)
    assert found.round == 1 and checkpoint.latest(store.folder).warning == ""
    kept = {path.name.partition(".")[0] for path in (store.folder / "checkpoint").iterdir()}
    assert kept == {"manifest", "round_000001"}
    add_round(store, 2)
    add_checkpoint(store, 2)
    assert checkpoint.latest(store.folder).state(2)["h"].tolist() == [2, 2, 2]


def test_a_checkpoint_commits_the_rows_before_it_and_needs_them(tmp_path, begin, add_round):
    store = begin(tmp_path / "run", commit_seconds=1e9)
    add_round(store, 1)
    with pytest.raises(ValueError, match="expected round 1 or before; got 2"):
        add_checkpoint(store, 2)
    assert (
        len(Run.open(store.folder).rounds["round"]) == 0 and checkpoint.latest(store.folder) is None
    )
    add_checkpoint(store, 1)
    assert (
        len(Run.open(store.folder).rounds["round"]) == 1
        and checkpoint.latest(store.folder).run_id == store.run_id
    )


def test_the_writer_before_stops_and_only_rounds_done_again_may_replace_weights(
    tmp_path, begin, add_round
):
    older = begin(tmp_path / "run")
    for t in (1, 2, 3, 4):
        add_round(older, t, save=t % 2 == 0)
    newer = resume(older.folder, 3)
    before = snapshot(tmp_path)
    for act in (
        lambda: add_round(older, 5),
        lambda: older.weights(6, np.zeros(10, "f4")),
        lambda: add_checkpoint(older, 4),
        older.close,
    ):
        with pytest.raises(Superseded, match=f"process {os.getpid()}"):
            act()
    assert snapshot(tmp_path) == before
    with pytest.raises(ValueError, match="not saved before; got 2"):
        newer.weights(2, np.zeros(10, "f4"))
    newer.weights(4, np.full(10, 44, "f4"))
    newer.close()
    assert (Run.open(newer.folder).weights(4)[0] == 44).all()
