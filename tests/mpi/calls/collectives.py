"""What a Communicator promises, checked on every rank."""

from __future__ import annotations

import time
from itertools import count
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from mpi4py import MPI

from mpifl.options import BadInput
from mpifl.parallel import communicator, node_memory, ranks
from mpifl.parallel.communicator import Communicator
from mpifl.parallel.exact_sum import WeightedSum, layout_of


def roles_are_those_of_the_rank(f: Communicator) -> None:
    assert isinstance(f, MPI.Intracomm)
    assert (f.is_server, f.workers) == (f.rank == 0, max(1, f.size - 1))
    assert f.worker == (0 if f.size == 1 else None if f.rank == 0 else f.rank - 1)
    assert f.worker_on_node() == (f.worker, f.workers)


def broadcast_brings_the_servers_vectors(f: Communicator) -> None:
    for dtype in (torch.float32, torch.float64):
        ours = {
            "w": torch.full((5,), f.rank + 0.1, dtype=dtype),
            "c": torch.arange(3, dtype=dtype) - f.rank,
        }
        moved = f.bytes_moved
        got = f.broadcast(ours)
        assert list(got) == ["w", "c"]
        assert torch.equal(got["w"], torch.full((5,), 0.1, dtype=dtype))
        assert torch.equal(got["c"], torch.arange(3, dtype=dtype))
        assert f.bytes_moved - moved == (0 if f.size == 1 else 8 * got["w"].element_size())


def the_wait_for_other_ranks_is_no_time_of_messages(f: Communicator) -> None:
    looks = count()  # each look at the clock is a second later
    clock = SimpleNamespace(perf_counter=lambda: float(next(looks)), sleep=time.sleep)
    before = f.seconds_moved
    with patch.object(communicator, "time", clock):
        f.arrive()
        assert f.seconds_moved == before
        f.broadcast({"w": torch.zeros(2)})  # packed before, and sent after all ranks have arrived
        assert f.seconds_moved - before == (0 if f.size == 1 else 2)
        f.everywhere(np.zeros(2))
        assert f.seconds_moved - before == (0 if f.size == 1 else 3)


def total_adds_vectors_exactly_and_gathers_rows_as_they_are(f: Communicator) -> None:
    # longer than one block of the sum, and the last block is short
    total_is_exact(f, 300_001)


def total_of_few_numbers_is_exact(f: Communicator) -> None:
    total_is_exact(f, 5)


def total_is_exact(f: Communicator, size: int) -> None:
    sizes, clients = {"w": size, "empty": 0, "control": 3}, 7
    sent = {name: torch.ones(length) for name, length in sizes.items()}
    sent["control"] *= 100  # a coarser grid than that of w
    replies = []
    for c in range(clients):
        draws = torch.Generator().manual_seed(c)
        reply = {name: torch.randn(length, generator=draws) for name, length in sizes.items()}
        replies.append(reply)
    rows = np.array([[0.1 * c, np.nan if c == 2 else -0.0, np.inf, 5e-324] for c in range(clients)])
    layout = layout_of(sent)
    alone, sums = WeightedSum(sent, layout), WeightedSum(sent, layout)
    sums.begin(sent, expected=clients if f.is_server else 0)
    own = np.zeros_like(rows)
    for c, reply in enumerate(replies):
        alone.add(reply, 1 / clients)
        if c % f.size == f.rank:
            sums.add(reply, 1 / clients)
            own[c] = rows[c]
    result = f.total(sums, {"rows": own, "none": np.zeros((0, 2))})
    assert (result is None) == (not f.is_server)
    if result:
        mean, gathered = result
        assert gathered["none"].shape == (0, 2)
        assert list(mean) == list(sizes)
        for name, expected in alone.total().items():
            assert torch.equal(mean[name], expected)
        assert gathered["rows"].tobytes() == rows.tobytes()


def first_known_is_the_value_of_the_lowest_rank_that_has_one(f: Communicator) -> None:
    assert f.first_known(f.rank if f.rank == f.size - 1 else None) == f.size - 1
    assert f.first_known(None) is None


def everywhere_adds_up_on_all_ranks(f: Communicator) -> None:
    own = np.zeros((f.size, 2))
    own[f.rank] = f.rank + 0.1, np.pi
    assert np.array_equal(f.everywhere(own), np.array([[r + 0.1, np.pi] for r in range(f.size)]))


def move_takes_states_where_they_are_needed(f: Communicator) -> None:
    like = {"h": torch.zeros(4), "n": torch.zeros(2, dtype=torch.float64)}
    clients = range(2 * f.size)
    start, goal = {c: c % f.size for c in clients}, {c: (c // 2 + 1) % f.size for c in clients}
    states = {c: state(c) for c in clients if start[c] == f.rank}
    f.move(states, like, [(c, start[c], goal[c]) for c in clients if start[c] != goal[c]])
    assert set(states) == {c for c in clients if goal[c] == f.rank}
    for c, moved in states.items():
        assert all(torch.equal(moved[name], vector) for name, vector in state(c).items())


def state(client: int) -> dict[str, torch.Tensor]:
    return {
        "h": torch.full((4,), client + 0.1),
        "n": torch.full((2,), client + 0.2, dtype=torch.float64),
    }


def arrays() -> dict[str, np.ndarray]:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    return {"images": pixels, "labels": np.array([3, -1, 2**40]), "domains": np.zeros(0)}


def replicate_brings_the_servers_arrays(f: Communicator) -> None:
    got = f.replicate(arrays() if f.is_server else None)
    assert list(got) == list(arrays())
    for name, array in arrays().items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(got[name], array)


def share_gives_the_node_one_copy(f: Communicator) -> None:
    got = f.share(arrays() if f.node.rank == 0 else None)
    for name, array in arrays().items():
        assert got[name].dtype == array.dtype
        assert np.array_equal(got[name], array)
    f.Barrier()
    if f.rank == f.size - 1:
        got["labels"][1] = 77
    f.Barrier()
    assert got["labels"][1] == 77


def share_gives_each_rank_a_copy_where_shared_memory_is_too_small(f: Communicator) -> None:
    with patch.object(node_memory, "shared_memory_free", lambda: 0):
        got = f.share(arrays() if f.node.rank == 0 else None)
    assert all(np.array_equal(got[name], array) for name, array in arrays().items())
    f.Barrier()
    got["labels"][1] = f.rank
    f.Barrier()
    assert got["labels"][1] == f.rank


def messages_larger_than_a_library_counts_go_in_pieces(f: Communicator) -> None:
    # bytes: one number or two; three states
    message = patch.object(ranks, "LARGEST_MESSAGE", 10)
    move = patch.object(communicator, "_LARGEST_MOVE", 70)
    with message, move:
        for check in WITH_VECTORS:
            check(f)


def agree_gives_results_or_the_first_ranks_mistake_to_all(f: Communicator) -> None:
    assert f.agree(lambda: f.rank + 1) == f.rank + 1
    try:
        f.agree(
            lambda: mistaken(f"rank {f.rank}: expected sense") if f.rank >= f.size - 2 else None
        )
    except BadInput as error:
        assert str(error) == f"rank {max(0, f.size - 2)}: expected sense"
    else:
        raise AssertionError("no rank's mistake came here")


def mistaken(line: str) -> None:
    raise BadInput(line)


def arrive_waits_asleep(f: Communicator) -> None:
    f.arrive()
    busy = time.process_time()
    if f.rank == f.size - 1:
        time.sleep(1.0)
    last = time.monotonic()  # the same clock for all ranks of a machine
    f.arrive()
    left, busy = time.monotonic(), time.process_time() - busy
    assert left >= max(f.allgather(last))
    assert busy < 0.5, busy


WITH_VECTORS = [
    broadcast_brings_the_servers_vectors,
    total_of_few_numbers_is_exact,
    first_known_is_the_value_of_the_lowest_rank_that_has_one,
    everywhere_adds_up_on_all_ranks,
    move_takes_states_where_they_are_needed,
    replicate_brings_the_servers_arrays,
    share_gives_each_rank_a_copy_where_shared_memory_is_too_small,
]
CHECKS = [
    roles_are_those_of_the_rank,
    *WITH_VECTORS,
    total_adds_vectors_exactly_and_gathers_rows_as_they_are,
    share_gives_the_node_one_copy,
    messages_larger_than_a_library_counts_go_in_pieces,
    agree_gives_results_or_the_first_ranks_mistake_to_all,
    arrive_waits_asleep,
    the_wait_for_other_ranks_is_no_time_of_messages,
]


def check_all(communicator: Communicator) -> list[str]:
    """Make every check; the names of those that held."""
    held = []
    for check in CHECKS:
        check(communicator)
        communicator.Barrier()
        held.append(check.__name__)
    return held
