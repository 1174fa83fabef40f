"""TCP connections between the server and every worker, beside MPI, for heartbeats.

MPI tells no rank that another has died, and a rank that waits inside MPI cannot be told anything.
When a process ends, the system closes its connections, on whatever node it ran; and a thread can
read a connection while the main thread waits. A node that loses power closes nothing: its ranks
are noticed by their missing heartbeats.

Anybody may connect to the server's port. The workers get a secret key by MPI, which no TCP
connection carries:

1. The server sends a random challenge, and its HMAC, by which a worker knows the server.
2. The worker answers with its rank, and the HMAC of challenge and rank.
3. The server sends a welcome. It closes a connection that gives no right answer in a few seconds.
"""

from __future__ import annotations

import errno
import hmac
import resource
import secrets
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, NamedTuple

from mpifl.parallel.timeouts import TIMEOUTS
from mpifl.terminal import say

_KEY_BYTES = 16
_CHALLENGE_BYTES = 16
_RANK_BYTES = 4
_HMAC_BYTES = 32
_ANSWER_BYTES = _RANK_BYTES + _HMAC_BYTES
_WELCOME = b"!"
_MOST_STRANGERS = 64  # connections from elsewhere, at once
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_OTHER_FILES = 512  # open files that a process may need besides

Received = tuple[int, bytes]
"""a rank and its message, which is empty if the rank's process has ended"""


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


class Connections:
    """This rank's connections; `hosts[i]` is the host of rank i.

    Messages have `size` bytes. Only one thread may use this, except for `wake` and a last `send`.
    """

    def __init__(self, hosts: list[str], size: int) -> None:
        self.hosts = hosts
        self.unreachable: set[int] = set()
        """ranks to which there is no connection"""
        self._size = size
        self._connected: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        self._received: list[Received] = []
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        self._register(self._wake_reader, self._read_wake)

    def send(self, message: bytes) -> None:
        """Send to every connected rank."""
        for connection in list(self._connected.values()):
            with suppress(OSError):  # its process has ended, or has read nothing for long
                connection.send(message)

    def wake(self) -> None:
        """Make a `wait` return at once; allowed in any thread and in signal handlers."""
        with suppress(BlockingIOError):  # then many calls are waiting to be read already
            self._wake_writer.send(b".")

    def wait(self, seconds: float) -> list[Received]:
        """What was received, as soon as there is something, or after `seconds`."""
        for key, _ in self._selector.select(seconds):
            key.data()
        received = self._received
        self._received = []
        return received

    def close(self) -> None:
        """Close all connections."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            self._close(key.fileobj)
        self._wake_writer.close()
        self._selector.close()

    def _register(self, readable: socket.socket, handler: Callable[[], None]) -> None:
        """Call `handler` in `wait` whenever the socket has something to read."""
        self._selector.register(readable, selectors.EVENT_READ, handler)

    def _connect(self, connection: socket.socket, rank: int) -> None:
        connection.setblocking(False)
        self._connected[rank] = connection
        self.unreachable.discard(rank)
        self._register(connection, partial(self._read, rank))

    def _read(self, rank: int) -> None:
        """Read a message, or what is there of it."""
        before = self._partial.pop(rank, b"")
        read = b""
        with suppress(OSError):
            read = self._connected[rank].recv(self._size - len(before))
        message = before + read
        if not read:
            self._close(self._connected.pop(rank))
            self._received.append((rank, b""))
        elif len(message) == self._size:
            self._received.append((rank, message))
        else:
            self._partial[rank] = message

    def _read_wake(self) -> None:
        self._wake_reader.recv(4096)

    def _close(self, registered: socket.socket) -> None:
        self._selector.unregister(registered)
        registered.close()


class ServerConnections(Connections):
    """The server's connections to all workers, which connect in their own time."""

    def __init__(self, ranks: Any, size: int) -> None:
        self._key = secrets.token_bytes(_KEY_BYTES)
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
        challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        self._strangers[connection] = _Stranger(challenge, time.monotonic() + TIMEOUTS.connect)
        self._register(connection, partial(self._identify, connection))
        with suppress(OSError):
            connection.send(challenge + _hmac(self._key, challenge))

    def _identify(self, connection: socket.socket) -> None:
        """Read an answer, or what is there of it: from a worker, or from a stranger to refuse."""
        stranger = self._strangers.get(connection)
        if stranger is None:  # refused since `wait` has begun
            return
        read = b""
        with suppress(OSError):
            read = connection.recv(_ANSWER_BYTES - len(stranger.answer))
        stranger.answer += read
        if read and len(stranger.answer) < _ANSWER_BYTES:
            return
        rank = self._rank_of(stranger)
        if rank is None:
            self._refuse(connection)
            return
        del self._strangers[connection]
        self._selector.unregister(connection)
        with suppress(OSError):
            connection.send(_WELCOME)
        self._connect(connection, rank)
        if not self.unreachable:
            self._stop_listening()
            self._warn_at = inf

    def _rank_of(self, stranger: _Stranger) -> int | None:
        """The worker that gave this answer; None for anybody else, and for one that is known."""
        rank_bytes = stranger.answer[:_RANK_BYTES]
        expected = rank_bytes + _hmac(self._key, stranger.challenge, rank_bytes)
        rank = int.from_bytes(rank_bytes, "big")
        if hmac.compare_digest(stranger.answer, expected) and rank in self.unreachable:
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
            if _is_welcome(connection, server.key, rank):
                self._connect(connection, 0)
                return
            connection.close()


def _is_welcome(connection: socket.socket, key: bytes, rank: int) -> bool:
    """Whether the other end is the server, and takes this rank for a worker."""
    with suppress(OSError):
        return _introduce(connection, key, rank)
    return False


def _introduce(connection: socket.socket, key: bytes, rank: int) -> bool:
    challenge = _receive(connection, _CHALLENGE_BYTES)
    if not hmac.compare_digest(_receive(connection, _HMAC_BYTES), _hmac(key, challenge)):
        return False
    rank_bytes = rank.to_bytes(_RANK_BYTES, "big")
    # If this rank went away now, the server would take it for dead. It is busy, but there.
    connection.settimeout(TIMEOUTS.start)
    connection.sendall(rank_bytes + _hmac(key, challenge, rank_bytes))
    return _receive(connection, len(_WELCOME)) == _WELCOME


def _receive(connection: socket.socket, size: int) -> bytes:
    """`size` bytes; fewer if the connection has ended. Raises OSError at the timeout."""
    received = b""
    while len(received) < size:
        read = connection.recv(size - len(received))
        if not read:
            break
        received += read
    return received


def _hmac(key: bytes, *texts: bytes) -> bytes:
    return hmac.digest(key, b"".join(texts), "sha256")


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
