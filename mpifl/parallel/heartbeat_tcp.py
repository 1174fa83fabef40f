"""Lines: a TCP connection from every worker to the server, beside MPI, for short messages and for
news of a death.

MPI tells no rank that another has died, and a rank that waits inside it hears nothing. A connection
is cut by the system as its process ends, on whatever node, and a thread can read it while the main
one waits. A node that loses its power cuts nothing: its ranks are silent.
"""

from __future__ import annotations

import resource
import secrets
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any

from mpifl.terminal import say

_REACH = 5.0  # seconds for a worker to reach the server in, by each of its addresses
_SECRET = 16  # bytes that tell a worker from a stranger at the server's port
_WELCOME = b"!"
_STRANGERS = 64  # at the server's port at once
_FILES = 512  # open files that a process may need besides


class Lines:
    """This rank's ends, for the ranks of a communicator (an MPI.Intracomm), each on one of `hosts`.

    Messages are of `size` bytes. All but the constructor is for one thread, `wake` and a last
    `send` excepted.
    """

    def __init__(self, ranks: Any, size: int) -> None:
        self._size = size
        self._ends: dict[int, socket.socket] = {}
        self._halves: dict[int, bytes] = {}
        self._ready = selectors.DefaultSelector()
        self._bell, self._button = socket.socketpair()
        self._ready.register(self._bell, selectors.EVENT_READ, self._answer)
        self._door = _door(ranks.size) if ranks.rank == 0 else None
        own = self._door and (self._door.getsockname()[1], _address(), secrets.token_bytes(_SECRET))
        places = ranks.allgather((socket.gethostname(), own))
        self.hosts, server = [host for host, _ in places], places[0][1]
        self.missing = set(range(1, ranks.size)) if ranks.rank == 0 else {0}
        """ranks of whom nothing can be heard"""
        self._deadline = time.monotonic() + 3 * _REACH if ranks.rank == 0 else inf
        if self._door:
            self._secret = own[-1]
            self._ready.register(self._door, selectors.EVENT_READ, self._welcome)
        elif server:
            self._reach(ranks.rank, *server)

    def send(self, message: bytes) -> None:
        """To every rank at the other ends."""
        for end in list(self._ends.values()):
            with suppress(OSError):  # it has died, or was stopped long ago
                end.send(message)

    def wake(self) -> None:
        """End a `wait`; for any thread, and for signal handlers."""
        self._button.send(b".")

    def wait(self, seconds: float) -> Iterator[tuple[int, bytes]]:
        """What comes within that time: (rank, message), the message empty where the rank's process
        has ended.
        """
        for key, _ in self._ready.select(max(0.0, min(seconds, self._deadline - time.monotonic()))):
            if callable(key.data):
                key.data()
            elif (message := self._read(key.data)) is not None:
                yield key.data, message
        if time.monotonic() > self._deadline:
            self._warn()

    def close(self) -> None:
        """Close all ends."""
        for key in [*self._ready.get_map().values()]:
            self._close(key.fileobj)
        self._button.close()
        self._ready.close()

    def _read(self, rank: int) -> bytes | None:
        """The message that is there; None for a part of one."""
        half, more = self._halves.pop(rank, b""), b""
        with suppress(OSError):
            more = self._ends[rank].recv(self._size - len(half))
        if not more:
            self._close(self._ends.pop(rank))
            return b""
        if len(half + more) < self._size:
            self._halves[rank] = half + more
            return None
        return half + more

    def _reach(self, rank: int, port: int, address: str, secret: bytes) -> None:
        """Reach the server, if there is a way; it is the server that speaks of it if there is none."""
        server = self.hosts[0]
        for host in filter(
            None, ("localhost" if self.hosts[rank] == server else "", server, address)
        ):
            with suppress(OSError):
                end = socket.create_connection((host, port), _REACH)
                end.sendall(secret + rank.to_bytes(4, "big"))
                if end.recv(1) == _WELCOME:
                    self._hold(end, 0)
                    break
                end.close()

    def _welcome(self) -> None:
        try:
            end, _ = self._door.accept()
        except OSError:  # no more files may be opened
            self._close(self._door)
        else:
            end.setblocking(False)
            self._ready.register(end, selectors.EVENT_READ, partial(self._greet, end))

    def _greet(self, end: socket.socket) -> None:
        """Hear who it is: one of the workers, or a stranger, who is turned away."""
        words = b""
        with suppress(OSError):
            words = end.recv(_SECRET + 4)
        if secrets.compare_digest(words[:_SECRET], self._secret):
            self._ready.unregister(end)
            self._admit(end, int.from_bytes(words[_SECRET:], "big"))
        else:
            self._close(end)

    def _admit(self, end: socket.socket, rank: int) -> None:
        with suppress(OSError):
            end.send(_WELCOME)
        self._hold(end, rank)
        if not self.missing:
            self._close(self._door)
            self._deadline = inf

    def _hold(self, end: socket.socket, rank: int) -> None:
        end.setblocking(False)
        self._ends[rank] = end
        self.missing.discard(rank)
        self._ready.register(end, selectors.EVENT_READ, rank)

    def _close(self, end: socket.socket) -> None:
        self._ready.unregister(end)
        end.close()

    def _answer(self) -> None:
        self._bell.recv(4096)

    def _warn(self) -> None:
        self._deadline = inf
        first, late = min(self.missing), len(self.missing)
        say(
            f"mpifl: {late} of {len(self.hosts)} ranks, the first of them rank {first} on {self.hosts[first]}, cannot "
            f"reach rank 0 on {self.hosts[0]} by TCP: that one of them died, hangs or was told to stop may be noticed "
            "late",
            error=True,
        )


def _door(ranks: int) -> socket.socket | None:
    """Where the workers are to knock; None where there can be no such thing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < ranks + _FILES:
        wanted = ranks + _FILES if hard == resource.RLIM_INFINITY else min(ranks + _FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    for options in ({"family": socket.AF_INET6, "dualstack_ipv6": True}, {}):
        with suppress(OSError, ValueError):
            return socket.create_server(("", 0), backlog=ranks + _STRANGERS, **options)
    return None


def _address() -> str:
    """This machine's own address, as others see it, empty if none do; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]
    return ""
