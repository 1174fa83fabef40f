from types import SimpleNamespace

import numpy as np

from mpifl.training import timeline
from mpifl.training.timeline import Kind, Stopwatch, stored, with_waits


def test_each_moment_counts_as_one_kind_that_of_the_innermost_context(monkeypatch):
    clock(monkeypatch, 0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 31.0)
    watch = Stopwatch(SimpleNamespace(seconds_moved=0.0))
    with watch.spending(Kind.TRAIN), watch.spending(Kind.OWN_TEST):  # from 1, and from 3 to 7
        pass
    watch.batches += 2  # 15 was the end of training
    seconds, batches = watch.take()
    assert batches == 2
    by_kind = {kind: seconds[kind] for kind in Kind if seconds[kind]}
    assert by_kind == {Kind.OTHER: 1.0 + 16.0, Kind.TRAIN: 2.0 + 8.0, Kind.OWN_TEST: 4.0}
    again, batches = watch.take()
    assert (again.sum(), batches) == (0.0, 0)


def test_the_wait_until_ranks_meet_is_told_apart_from_the_messages(monkeypatch):
    clock(monkeypatch, 0.0, 1.0, 11.0, 12.0, 20.0, 21.0)
    communicator = SimpleNamespace(seconds_moved=5.0)
    watch = Stopwatch(communicator)
    with watch.spending(Kind.WAIT):  # from 1 to 11, of which 7 until all are there
        communicator.seconds_moved += 3.0
    seconds, _ = watch.take()
    by_kind = {kind: seconds[kind] for kind in Kind if seconds[kind]}
    assert by_kind == {Kind.OTHER: 2.0, Kind.WAIT: 7.0, Kind.COMMUNICATE: 3.0}
    communicator.seconds_moved += 2.0  # of a sum, which all ranks wait for from 12 to 18
    watch.keep_messages()
    seconds, _ = watch.take()
    assert {kind: seconds[kind] for kind in Kind if seconds[kind]} == {
        Kind.COMMUNICATE: 2.0,
        Kind.OTHER: 1.0,
    }


def clock(monkeypatch, *seconds):
    """The stopwatch reads these, one after the other."""
    times = iter(seconds)
    monkeypatch.setattr(timeline, "time", SimpleNamespace(perf_counter=lambda: next(times)))


def test_who_is_done_first_has_waited_for_the_last():
    spent = np.zeros((3, len(Kind)))
    spent[0, Kind.TEST] = 1.0
    spent[1, [Kind.TRAIN, Kind.OWN_TEST, Kind.COMMUNICATE]] = [3.0, 1.0, 0.5]
    spent[2, [Kind.TRAIN, Kind.OTHER]] = [2.0, 1.0]
    arrays = stored(with_waits(spent))
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "train": [0.0, 3.0, 2.0],
        "test": [1.0, 1.0, 0.0],
        "wait": [3.5, 0.0, 1.5],
        "communicate": [0.0, 0.5, 0.0],
        "write": [0.0, 0.0, 0.0],
    }
