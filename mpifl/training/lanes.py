"""Clients that a rank plays at the same time, each in a lane: a thread with a net of its own.

A GPU has room for the kernels of many small models at once, but one client's kernels wait for each
other. So a lane has a stream of its own too, and recorded steps of its own. Clients share nothing
else, so each ends in the bits that it has alone; their replies are added in any order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch

from mpifl.net import Net
from mpifl.parallel.heartbeat import Abandoned
from mpifl.training.client import Played, Task
from mpifl.training.clients import Clients


class Ended(NamedTuple):
    """A client that has played."""

    task: Task
    played: Played


Play = Callable[[Clients, Task], Played]
"""`client.play`, or what calls it"""


class _Lane(NamedTuple):
    net: Net
    """for one client at a time"""
    stream: Any
    """where its kernels run; None on a CPU"""


class Lanes:
    """Plays this rank's clients, so many of them at once as there are lanes.

    With one lane they play on the rank's own net, one after the other.
    """

    def __init__(self, clients: Clients, count: int) -> None:
        self._clients = clients
        self._count = count
        self._lanes: list[_Lane] = []

    def play(self, tasks: Iterable[Task], play: Play) -> Generator[Ended]:
        """Play the clients of `tasks`, and yield each when it has ended.

        A task is asked for when a lane is free for it, by the caller's thread; `play` is called by
        the lanes' threads. Where it raises an error, the other lanes leave their clients, and the
        error is raised here.
        """
        if self._count == 1:
            for task in tasks:
                yield Ended(task, play(self._clients, task))
            return
        while len(self._lanes) < self._count:
            self._lanes.append(self._new())
        yield from _Round(self._clients, self._lanes, play).ended(tasks)

    def _new(self) -> _Lane:
        net = self._clients.net.copy()
        if net.device.type == "cpu":
            return _Lane(net, None)
        return _Lane(net, torch.cuda.Stream(net.device))


class _Round:
    """A round, with a thread for each lane."""

    def __init__(self, clients: Clients, lanes: list[_Lane], play: Play) -> None:
        self._clients = clients
        self._play = play
        self._count = len(lanes)
        self._is_on_gpu = clients.net.device.type == "cuda"
        self._free: SimpleQueue[_Lane] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)
        self._must_leave = threading.Event()

    def ended(self, tasks: Iterable[Task]) -> Iterator[Ended]:
        """Play the clients of `tasks`, and yield each when it has ended."""
        under_way: dict[Future[Played], Task] = {}
        # A new thread computes with as many threads of its own as torch finds cores.
        begin_thread = partial(torch.set_num_threads, torch.get_num_threads())
        with ThreadPoolExecutor(self._count, "lane", begin_thread) as threads:
            try:
                for task in tasks:
                    own = _with_minibatches(task)
                    under_way[threads.submit(self._play_in_a_lane, own, self._now())] = task
                    if len(under_way) == self._count:
                        yield from self._those_that_ended(under_way)
                while under_way:
                    yield from self._those_that_ended(under_way)
            finally:
                self._must_leave.set()

    def _play_in_a_lane(self, task: Task, ready: Any) -> Played:
        """Play a client, whose tensors are there after the event `ready`; what it ends in has been
        computed.
        """
        task = task._replace(alive=partial(self._check, task.alive))
        lane = self._free.get()
        try:
            clients = self._clients.on(lane.net)
            if not self._is_on_gpu:
                return self._play(clients, task)
            with torch.cuda.stream(lane.stream):
                lane.stream.wait_event(ready)
                played = self._play(clients, task)
                lane.stream.synchronize()
            return played
        finally:
            self._free.put(lane)

    def _now(self) -> Any:
        """An event after what this thread has asked of the GPU so far; None on a CPU."""
        return torch.cuda.current_stream().record_event() if self._is_on_gpu else None

    def _check(self, alive: Callable[[], None]) -> None:
        """`alive` of a task. Raises Abandoned where the round has failed in another lane."""
        if self._must_leave.is_set():
            raise Abandoned
        alive()

    def _those_that_ended(self, under_way: dict[Future[Played], Task]) -> Iterator[Ended]:
        """Wait for clients to end, take them out of those under way, and yield them."""
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            ended = Ended(under_way.pop(future), future.result())
            if self._is_on_gpu:
                _used_on_this_stream(ended.played)
            yield ended


def _with_minibatches(task: Task) -> Task:
    """A task whose minibatches are made by this thread: several clients' are made at once."""
    if task.dealt is None:
        return task
    batches = task.dealt()
    return task._replace(dealt=lambda: batches)


def _used_on_this_stream(played: Played) -> None:
    """Let the memory of tensors that a lane's stream has made live until this thread's stream has
    used them, even if no reference to them is left before.
    """
    for tensor in (*played.reply.flat().values(), *played.model):
        tensor.record_stream(torch.cuda.current_stream())
