"""Lines: a TCP connection from every worker to the server, beside MPI, for short messages and for news of a death.

MPI tells no rank that another has died, and a rank that waits inside it hears nothing. A connection is cut by the
system as its process ends, on whatever node, and a thread can read it while the main one waits. A node that loses its
power cuts nothing: its ranks are silent.
"""

from __future__ import annotations

import secrets
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from typing import Any

from mpifl.tables import say

_REACH = 5.0  # seconds for a worker to reach the server in, by each of its addresses
_SECRET = 16  # bytes that tell a worker from a stranger at the server's port


class Lines:
    """This rank's ends, for the ranks of a communicator (an MPI.Intracomm), each on one of `hosts`.

    Messages are of `size` bytes. All but the constructor is for one thread, `wake` excepted.
    """

    def __init__(self, ranks: Any, size: int) -> None:
        self._size = size
        self._ends: dict[int, socket.socket] = {}
        self._halves: dict[int, bytes] = {}
        self._ready = selectors.DefaultSelector()
        self._bell, self._button = socket.socketpair()
        self._ready.register(self._bell, selectors.EVENT_READ, self._answer)
        door = socket.create_server(("", 0), backlog=ranks.size) if ranks.rank == 0 else None
        own = door and (door.getsockname()[1], _address(), secrets.token_bytes(_SECRET))
        places = ranks.allgather((socket.gethostname(), own))
        self.hosts = [host for host, _ in places]
        self._missing, self._deadline = set(range(1, ranks.size)), inf
        if door:
            self._door, (self._port, _, self._secret) = door, own
            self._ready.register(door, selectors.EVENT_READ, self._welcome)
            self._deadline = time.monotonic() + 3 * _REACH
        else:
            self._reach(ranks.rank, *places[0][1])

    def send(self, message: bytes) -> None:
        """To every rank at the other ends."""
        for end in list(self._ends.values()):
            with suppress(OSError):
                end.send(message)

    def wake(self) -> None:
        """End a `wait`; for any thread, and for signal handlers."""
        self._button.send(b".")

    def wait(self, seconds: float) -> Iterator[tuple[int, bytes]]:
        """What comes within that time: (rank, message), the message empty where the rank's process has ended."""
        for key, _ in self._ready.select(seconds):
            if callable(key.data):
                key.data()
            elif (message := self._read(key.data)) is not None:
                yield key.data, message
        if time.monotonic() > self._deadline:
            self._warn()

    def drop(self, rank: int) -> None:
        """Close the line of a rank that has no more to say."""
        self._ready.unregister(end := self._ends.pop(rank))
        end.close()

    def _read(self, rank: int) -> bytes | None:
        """The message that is there; None for a part of one."""
        half, more = self._halves.pop(rank, b""), b""
        with suppress(OSError):
            more = self._ends[rank].recv(self._size - len(half))
        if not more:
            self.drop(rank)
            return b""
        if len(half + more) < self._size:
            self._halves[rank] = half + more
            return None
        return half + more

    def _reach(self, rank: int, port: int, address: str, secret: bytes) -> None:
        """Reach the server, if there is a way; it is the server that speaks of it if there is none."""
        server = self.hosts[0]
        for host in ("localhost",) if self.hosts[rank] == server else (server, address):
            with suppress(OSError):
                end = socket.create_connection((host, port), _REACH)
                end.sendall(secret + rank.to_bytes(4, "big"))
                self._hold(end, 0)
                break

    def _welcome(self) -> None:
        end, _ = self._door.accept()
        if rank := _greeted(end, self._secret):
            self._hold(end, rank)
            self._missing.discard(rank)
        if not self._missing:
            self._ready.unregister(self._door)
            self._door.close()
            self._deadline = inf

    def _hold(self, end: socket.socket, rank: int) -> None:
        end.settimeout(None)
        self._ends[rank] = end
        self._ready.register(end, selectors.EVENT_READ, rank)

    def _answer(self) -> None:
        self._bell.recv(4096)

    def _warn(self) -> None:
        self._deadline = inf
        first, late = min(self._missing), len(self._missing)
        say(
            f"mpifl: {late} of {len(self.hosts)} ranks, the first of them rank {first} on {self.hosts[first]}, cannot "
            f"reach rank 0 by TCP, at {self.hosts[0]}:{self._port}: that one of them died, hangs or was told to stop "
            "may be noticed late",
            error=True,
        )


def _address() -> str:
    """This machine's own address, as others see it; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with suppress(OSError):
            probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]


def _greeted(end: socket.socket, secret: bytes) -> int:
    """The rank that speaks; 0 for a stranger, who is turned away."""
    end.settimeout(1.0)
    with suppress(OSError):
        words = end.recv(_SECRET + 4)
        if secrets.compare_digest(words[:_SECRET], secret):
            return int.from_bytes(words[_SECRET:], "big")
    end.close()
    return 0
