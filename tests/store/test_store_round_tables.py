"""Cohorts: only the clients that took part are stored; a run reads the same with many and few."""

import h5py
import numpy as np
import pytest

from mpifl.store import Run
from mpifl.store.round_tables import Cohorts

MILLION = 1_000_000


def test_arrays_come_back_as_they_were():
    took_part = np.random.default_rng(0).random((30, 7)) < 0.3
    loss = np.where(took_part, np.arange(210, dtype="f4").reshape(30, 7), np.float32(np.nan))
    cohorts = Cohorts.of_arrays({"participated": took_part.astype("u1"), "loss": loss})
    assert (cohorts.rounds, len(cohorts.ids), list(cohorts)) == (
        30,
        took_part.sum(),
        ["participated", "loss"],
    )
    np.testing.assert_array_equal(cohorts["loss"], loss)
    np.testing.assert_array_equal(cohorts["participated"], took_part)
    np.testing.assert_array_equal(cohorts.up_to(11)["loss"], loss[:11])


def test_what_was_not_reported_yet_is_left_out():
    values = {"loss": np.array([1, 2], "f4"), "late": np.array([np.nan, 3], "f4")}
    cohorts = Cohorts(4, np.array([3, 0]), np.array([0, 1, 2]), values)
    assert list(cohorts.up_to(2)) == ["participated", "loss", "late"]
    assert list(cohorts.up_to(1)) == ["participated", "loss"]


@pytest.mark.parametrize("create", [True], indirect=True, ids=[""])
@pytest.mark.parametrize(
    ("clients", "rounds", "each", "by_round"),
    [
        (100, 2000, 10, True),  # small
        (100, 2001, 10, False),
        (400, 2000, 100, True),  # full
        (400, 2000, 99, False),
        (10_001, 10, 5000, True),
    ],
)
def test_arrays_that_are_large_and_mostly_empty_are_stored_as_cohorts(
    tmp_path, create, clients, rounds, each, by_round
):
    partition = (np.arange(clients), np.arange(clients + 1), np.ones((clients, 1), "i8"))
    config = f"rounds = {rounds}"
    store = create(tmp_path / "run", clients=clients, partition=partition, config=config)
    store.append(1, {}, {"loss": np.arange(each)}, np.arange(each))
    store.close()
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        assert file["clients/loss"].shape == ((1, clients) if by_round else (each,))
    read = Run.open(tmp_path / "run").clients
    np.testing.assert_array_equal(read["loss"][0, :each], np.arange(each, dtype="f4"))
    assert read["participated"].sum() == each


@pytest.mark.slow
@pytest.mark.parametrize("create", [True], indirect=True, ids=[""])
def test_a_million_clients_cost_what_their_cohorts_do(tmp_path, create):
    indices, offsets, counts = (
        np.arange(MILLION),
        np.arange(MILLION + 1),
        np.zeros((MILLION, 10), "i4"),
    )
    counts[np.arange(MILLION), np.arange(MILLION) % 10] = 1
    store = create(
        tmp_path / "run", clients=MILLION, partition=(indices, offsets, counts), commit_seconds=1e9
    )
    for round in range(1, 51):
        store.append(round, {}, {"loss": np.arange(10)}, np.arange(10) * 99_999 + round)
    store.close()
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        assert file["clients/loss"].shape == (500,)
    assert (tmp_path / "run" / "results.h5").stat().st_size < 40e6
    read = Run.open(tmp_path / "run")
    np.testing.assert_array_equal(read.label_counts, counts)
    assert (read.clients.rounds, read.clients.ids[-1], read.clients.reported["loss"][-1]) == (
        50,
        899_991 + 50,
        9,
    )
