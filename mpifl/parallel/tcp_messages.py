"""Messages of one size between ranks, over TCP connections that are already made."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

Received = tuple[int, bytes]
"""a rank and its message, which is empty if the rank's process has ended"""


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
