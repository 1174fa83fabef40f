"""TCP connections between the server and every worker, beside MPI, for heartbeats.

MPI tells no rank that another has died, and a rank that waits inside MPI cannot be told anything.
When a process ends, the system closes its connections, on whatever node it ran; and a thread can
read a connection while the main thread waits. A node that loses power closes nothing: its ranks
are noticed by their missing heartbeats.

Anybody may connect to the server's port: `tcp_handshake.py` tells workers from others.
`tcp_messages.py` sends and receives.
"""

from __future__ import annotations

import errno
import resource
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, NamedTuple

from mpifl.parallel.tcp_handshake import (
    ANSWER_BYTES,
    WELCOME,
    greeting,
    is_welcome,
    new_challenge,
    new_key,
    rank_in,
)
from mpifl.parallel.tcp_messages import Connections, Received
from mpifl.parallel.timeouts import TIMEOUTS
from mpifl.terminal import say

_MOST_STRANGERS = 64  # connections from elsewhere, at once
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_OTHER_FILES = 512  # open files that a process may need besides


class Address(NamedTuple):
    """Where the server listens, and the secret key by which server and workers know each other."""

    port: int
    ip: str
    key: bytes


@dataclass
class _Stranger:
    """A connection that has not answered its challenge yet."""

    challenge: bytes
    deadline: float
    answer: bytes = b""


class ServerConnections(Connections):
    """The server's connections to all workers, which connect in their own time."""

    def __init__(self, ranks: Any, size: int) -> None:
        self._key = new_key()
        self._listeners = _listening_sockets(ranks.size)
        hosts, _ = _exchange(ranks, self._address())
        super().__init__(hosts, size)
        self.unreachable = set(range(1, ranks.size))
        self._strangers: dict[socket.socket, _Stranger] = {}  # the oldest first
        self._warn_at = time.monotonic() + 3 * TIMEOUTS.connect
        for listener in self._listeners:
            self._register(listener, partial(self._accept, listener))

    def wait(self, seconds: float) -> list[Received]:
        until_warning = max(0.0, self._warn_at - time.monotonic())
        received = super().wait(min(seconds, until_warning))
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn()
        late = [each for each, stranger in self._strangers.items() if now > stranger.deadline]
        for connection in late:
            self._refuse(connection)
        return received

    def _address(self) -> Address | None:
        if not self._listeners:
            return None
        return Address(self._listeners[0].getsockname()[1], _own_ip(), self._key)

    def _accept(self, listener: socket.socket) -> None:
        """Accept a connection and send its challenge."""
        try:
            connection, _ = listener.accept()
        except OSError as problem:  # or the connection is closed already
            if problem.errno in _NO_ROOM:
                self._make_room()
            return
        if len(self._strangers) >= len(self.unreachable) + _MOST_STRANGERS:
            self._make_room()
        connection.setblocking(False)
        challenge = new_challenge()
        self._strangers[connection] = _Stranger(challenge, time.monotonic() + TIMEOUTS.connect)
        self._register(connection, partial(self._identify, connection))
        with suppress(OSError):
            connection.send(greeting(self._key, challenge))

    def _identify(self, connection: socket.socket) -> None:
        """Read an answer, or what is there of it: from a worker, or from a stranger to refuse."""
        stranger = self._strangers.get(connection)
        if stranger is None:  # refused since `wait` has begun
            return
        read = b""
        with suppress(OSError):
            read = connection.recv(ANSWER_BYTES - len(stranger.answer))
        stranger.answer += read
        if read and len(stranger.answer) < ANSWER_BYTES:
            return
        rank = self._rank_of(stranger)
        if rank is None:
            self._refuse(connection)
            return
        del self._strangers[connection]
        self._selector.unregister(connection)
        with suppress(OSError):
            connection.send(WELCOME)
        self._connect(connection, rank)
        if not self.unreachable:
            self._stop_listening()
            self._warn_at = inf

    def _rank_of(self, stranger: _Stranger) -> int | None:
        """The worker that gave this answer; None for anybody else, and for one that is known."""
        rank = rank_in(stranger.answer, self._key, stranger.challenge)
        if rank in self.unreachable:
            return rank
        return None

    def _make_room(self) -> None:
        """Close the oldest connection of a stranger; where there is none, accept no more."""
        if self._strangers:
            self._refuse(next(iter(self._strangers)))
        else:
            self._stop_listening()

    def _refuse(self, connection: socket.socket) -> None:
        del self._strangers[connection]
        self._close(connection)

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            self._close(listener)
        self._listeners = []

    def _warn(self) -> None:
        self._warn_at = inf
        first = min(self.unreachable)
        say(
            f"mpifl: {len(self.unreachable)} of {len(self.hosts)} ranks, the first of them rank "
            f"{first} on {self.hosts[first]}, cannot reach rank 0 on {self.hosts[0]} by TCP: if "
            "one of them dies, hangs or gets a stop signal, others notice it late",
            error=True,
        )


class WorkerConnections(Connections):
    """A worker's connection to the server, if there is a way to reach it."""

    def __init__(self, ranks: Any, size: int) -> None:
        hosts, server = _exchange(ranks, None)
        super().__init__(hosts, size)
        self.unreachable = {0}
        if server is not None:
            self._reach(server, ranks.rank)

    def _reach(self, server: Address, rank: int) -> None:
        """Try each of the server's names. If none works, it is the server that warns."""
        names = [self.hosts[0]]
        if self.hosts[rank] == self.hosts[0]:
            names.insert(0, "localhost")
        if server.ip:
            names.append(server.ip)
        for name in names:
            try:
                connection = socket.create_connection((name, server.port), TIMEOUTS.connect)
            except OSError:
                continue
            if is_welcome(connection, server.key, rank):
                self._connect(connection, 0)
                return
            connection.close()


def connect(ranks: Any, size: int) -> Connections:
    """Connect the ranks of a communicator (an MPI.Intracomm), for messages of `size` bytes.

    Every rank calls it.
    """
    if ranks.size == 1:
        return Connections([socket.gethostname()], size)
    if ranks.rank == 0:
        return ServerConnections(ranks, size)
    return WorkerConnections(ranks, size)


def _exchange(ranks: Any, own: Address | None) -> tuple[list[str], Address | None]:
    """The hosts of all ranks, and the server's address: None if workers cannot connect to it."""
    known = ranks.allgather((socket.gethostname(), own))
    hosts = [host for host, _ in known]
    _, server = known[0]
    return hosts, server


def _listening_sockets(ranks: int) -> list[socket.socket]:
    _allow_open_files(ranks + _OTHER_FILES)
    backlog = ranks + _MOST_STRANGERS
    with suppress(OSError, ValueError):
        listener = socket.create_server(
            ("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog
        )
        listener.setblocking(False)
        return [listener]
    with suppress(OSError):
        listener = socket.create_server(("", 0), backlog=backlog)
        listener.setblocking(False)
        return [listener]
    return []


def _allow_open_files(wanted: int) -> None:
    """Raise this process's limit of open files, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _own_ip() -> str:
    """This machine's address as other machines see it; empty if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        # chooses a network interface, but sends nothing; the address is reserved for examples
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]
    return ""
