"""Clients that a rank plays at the same time, each in a lane: a thread with a net of its own.

A GPU has room for the kernels of many small models at once, but one client's kernels wait for each
other. So a lane has a stream of its own too, and recorded steps of its own. Each client ends in the
bits that it has alone, and their replies are added exactly, in any order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from mpifl.net import Net
from mpifl.parallel.heartbeat import Abandoned
from mpifl.training.client import Played, Task
from mpifl.training.clients import Clients
from mpifl.training.steps import CAPTURING

MOST_LANES = 16
"""of a rank; torch has 32 streams for a GPU, and no two lanes may share one"""

Play = Callable[[Clients, Task], Played]
"""`client.play`, or what calls it"""


class Ended(NamedTuple):
    """A client that has played."""

    task: Task
    played: Played


class _Lane(NamedTuple):
    """Where one client plays at a time."""

    net: Net
    stream: Any
    """of its kernels; None on a CPU"""
    thread: ThreadPoolExecutor


class Lanes:
    """Plays this rank's clients, so many of them at once as there are lanes.

    With one lane they play on the rank's own net, one after the other.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._count = 1
        self._lanes: list[_Lane] = []
        """those that were needed so far"""

    @property
    def are_several(self) -> bool:
        """Whether there is more than one."""
        return self._count > 1

    @property
    def made(self) -> int:
        """How many there are so far: each is made when it is needed."""
        return len(self._lanes)

    def have(self, count: int) -> None:
        """Play so many clients at once from now on."""
        self._count = count
        if count > 1:  # then the rank's own net trains nobody
            self._clients.forget(self._clients.net)
        while self._lanes and (count == 1 or len(self._lanes) > count):
            self._end(self._lanes.pop())

    def play(self, tasks: Iterable[Task], play: Play) -> Generator[Ended]:
        """Play the clients of `tasks`, and yield each when it has ended.

        A task is asked for when a lane is free for it, by the caller's thread; `play` is called by
        the lanes' threads. Where it raises an error, the other lanes leave their clients, and the
        error is raised here.
        """
        if self.are_several:
            yield from self._play_at_once(tasks, play)
            return
        for task in tasks:
            yield Ended(task, play(self._clients, task))

    def wait_until_used(self) -> None:
        """Wait until the GPU has done what this thread has asked of it.

        Call it before the tensors of clients that have ended are dropped: their memory goes back
        to their lanes, which may write to it at once.
        """
        if self.are_several and self._is_on_gpu:
            torch.cuda.current_stream().synchronize()

    def close(self) -> None:
        """End the lanes' threads."""
        self.have(1)

    @property
    def _is_on_gpu(self) -> bool:
        return self._clients.net.device.type == "cuda"

    def _play_at_once(self, tasks: Iterable[Task], play: Play) -> Generator[Ended]:
        free = list(self._lanes)
        under_way: dict[Future[Played], tuple[_Lane, Task]] = {}
        must_leave = threading.Event()
        try:
            for task in tasks:
                lane = free.pop() if free else self._new()
                own = task._replace(alive=partial(_check, must_leave, task.alive))
                future = lane.thread.submit(self._play_in, lane, play, own, self._now())
                under_way[future] = (lane, task)
                if len(under_way) == self._count:
                    yield from _those_that_ended(under_way, free)
            while under_way:
                yield from _those_that_ended(under_way, free)
        finally:
            must_leave.set()
            wait(under_way)

    def _end(self, lane: _Lane) -> None:
        lane.thread.shutdown()
        self._clients.forget(lane.net)

    def _new(self) -> _Lane:
        net = self._clients.net.copy()
        stream = self._new_stream(net.device) if self._is_on_gpu else None
        begin = partial(_begin_thread, net.device, stream, torch.get_num_threads())
        lane = _Lane(net, stream, ThreadPoolExecutor(1, "lane", begin))
        self._lanes.append(lane)
        if stream is not None:
            with CAPTURING:
                _use_libraries(net.device)  # this thread tests models while lanes train
                lane.thread.submit(_use_libraries, net.device).result()
        return lane

    def _new_stream(self, device: torch.device) -> Any:
        """A stream that no other lane has: torch deals its streams in turn, again and again."""
        others = [lane.stream for lane in self._lanes]
        stream = torch.cuda.Stream(device)
        while stream in others:
            stream = torch.cuda.Stream(device)
        return stream

    def _play_in(self, lane: _Lane, play: Play, task: Task, ready: Any) -> Played:
        """Play a client, whose tensors are there after the event `ready`; what it ends in has been
        computed.
        """
        clients = self._clients.on(lane.net)
        if lane.stream is None:
            return play(clients, task)
        lane.stream.wait_event(ready)
        try:
            played = play(clients, task)
        except BaseException:
            # Steps may be under way that read what the caller drops. Of a GPU that has failed, the
            # first error says more.
            with suppress(RuntimeError):
                lane.stream.synchronize()
            raise
        lane.stream.synchronize()
        return played

    def _now(self) -> Any:
        """An event after what this thread has asked of the GPU so far; None on a CPU."""
        return torch.cuda.current_stream().record_event() if self._is_on_gpu else None


def _begin_thread(device: torch.device, stream: Any, threads: int) -> None:
    """Set what torch keeps for each thread by itself."""
    torch.set_num_threads(threads)
    if stream is not None:
        torch.cuda.set_device(device)
        torch.cuda.set_stream(stream)
        # Else the backward passes of all lanes would be made by one thread.
        torch.autograd.set_multithreading_enabled(False)


def _use_libraries(device: torch.device) -> None:
    """Let cuBLAS and cuDNN begin in this thread: they wait for the whole device then, which would
    break a capture.
    """
    images = torch.ones(1, 1, 3, 3, device=device)
    functional.conv2d(images, images)
    torch.mm(images[0, 0], images[0, 0])
    torch.cuda.current_stream().synchronize()


def _check(must_leave: threading.Event, alive: Callable[[], None]) -> None:
    """`alive` of a task. Raises Abandoned where the round has failed in another lane."""
    if must_leave.is_set():
        raise Abandoned
    alive()


def _those_that_ended(
    under_way: dict[Future[Played], tuple[_Lane, Task]], free: list[_Lane]
) -> Generator[Ended]:
    """Wait for clients to end; yield them, and their lanes are free."""
    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in done:
        lane, task = under_way.pop(future)
        free.append(lane)
        yield Ended(task, future.result())
