"""States in slots are kept as in a dict; on disk they take no memory, and leave nothing
behind.
"""

from __future__ import annotations

import resource

import numpy as np
import pytest
import torch

from mpifl.options import BadInput
from mpifl.plan.profile import resident
from mpifl.store import Refused
from mpifl.training import state_storage
from mpifl.training.state_storage import Slots, StoredStates

LIKE = {"c": torch.zeros(5), "met": torch.zeros(1, dtype=torch.float64), "none": torch.zeros(0)}


def state(number: float, like=LIKE):
    return {name: torch.full_like(vector, number) for name, vector in like.items()}


def two(folder, like=LIKE) -> tuple[StoredStates, StoredStates]:
    slots = Slots(folder, like)
    return StoredStates(slots), StoredStates(slots)


def told(states) -> dict[int, list]:
    return {
        client: [vector.tolist() for vector in states[client].values()] for client in sorted(states)
    }


class Dict(dict):
    def take_all(self, others):
        self.update(others)
        others.clear()


@pytest.mark.parametrize("on_disk", [False, True])
def test_states_in_slots_are_those_of_a_dict_whatever_is_done_to_them(
    tmp_path, monkeypatch, on_disk
):
    monkeypatch.setattr(state_storage, "_SEGMENT", 1 << 10)
    monkeypatch.setattr(state_storage, "_RESIDENT", 500)
    random, kinds = np.random.default_rng(0), [(Dict(), Dict()), two(tmp_path if on_disk else None)]
    for step in range(300):
        what, client = (
            random.choice(["keep", "keep", "again", "settle", "forget", "move"]),
            int(random.integers(40)),
        )
        for here, fresh in kinds:
            if what == "keep":
                fresh[client] = state(step + 0.1)
            elif what == "again":  # a client that failed keeps what it had
                fresh[client] = here.get(client, LIKE)
            elif what == "settle":
                here.take_all(fresh)
            elif what == "forget":
                fresh.clear()
            elif client in here:
                del here[client]
        for expected, got in zip(*kinds, strict=True):
            assert told(expected) == told(got)
    assert len(expected) + len(kinds[0][0]) > 20


def test_slots_are_used_again(monkeypatch):
    monkeypatch.setattr(state_storage, "_SEGMENT", 1)
    here, fresh = two(None)
    for step in range(50):
        for client in range(3):
            fresh[client] = state(step)
        here.take_all(fresh)
        if step % 2:
            here.pop(step % 3)
    assert len(here._slots._segments) == 6  # 3 that hold and 3 of the round under way


def test_what_was_written_is_read_after_its_pages_were_let_go_of_and_they_are(tmp_path):
    like = {"w": torch.zeros(1 << 18)}
    here, _ = two(tmp_path, like)
    before = resident()[0]
    for client in range(300):
        here[client] = state(client, like)
    grown = resident()[0] - before
    assert all((here[client]["w"] == client).all() for client in range(300))
    assert grown < 100 << 20 < 300 << 20


def test_nothing_is_left_in_the_folder(tmp_path):
    here, _ = two(tmp_path)
    here[1] = state(1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_grow_is_an_error_that_names_the_folder(tmp_path):
    here, _ = two(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="large") as caught:
            here[1] = state(1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value, Refused)
    assert caught.value.filename == str(tmp_path)


def test_a_folder_where_no_file_can_be_made_is_bad_input(tmp_path):
    state_storage.refuse_unusable(tmp_path)
    with pytest.raises(BadInput, match=r"^runtime.states_folder: .*nowhere.*No such file"):
        state_storage.refuse_unusable(tmp_path / "nowhere")


def test_clients_that_remember_nothing_need_no_file(tmp_path):
    assert list(two(tmp_path / "nowhere", {})[0]) == []
