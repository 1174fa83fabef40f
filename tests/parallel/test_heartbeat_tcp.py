"""The connections between the server and its workers."""

from __future__ import annotations

import hmac
import os
import resource
import socket
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest

from mpifl.parallel import heartbeat_tcp
from mpifl.parallel.heartbeat_tcp import Connections, connect

CHALLENGE_BYTES = 16 + 32  # with its HMAC
STRANGERS = 400


class Ranks:
    """Rank 0 of two; keeps what the server tells the workers."""

    rank = 0
    size = 2

    def allgather(self, own: Any) -> list[Any]:
        self.host, self.address = own
        return [own, (self.host, None)]


class Worker:
    """Rank 1 of two, which knows the server's address."""

    rank = 1
    size = 2

    def __init__(self, server: Server, address: Any) -> None:
        self.known = [(server.connections.hosts[0], address)] * 2

    def allgather(self, own: Any) -> list[Any]:
        return self.known


class Server:
    """A server's connections, and clients that connect to it."""

    def __init__(self) -> None:
        ranks = Ranks()
        self.connections: Connections = connect(ranks, size=4)
        self.address = ranks.address
        self.clients: list[socket.socket] = []

    def client(self, introduction: bytes) -> socket.socket:
        client = socket.create_connection(("localhost", self.address.port), timeout=30)
        client.sendall(introduction)
        self.clients.append(client)
        return client

    def answer(self, rank: int, key: bytes | None = None) -> socket.socket:
        """A client that answers its challenge as `rank`."""
        client = self.client(b"")
        self.wait_until(lambda: has_read(client))
        challenge = client.recv(CHALLENGE_BYTES)[:16]
        rank_bytes = rank.to_bytes(4, "big")
        client.sendall(
            rank_bytes + hmac.digest(key or self.address.key, challenge + rank_bytes, "sha256")
        )
        return client

    def worker(self) -> socket.socket:
        """A worker that has been welcomed."""
        worker = self.answer(rank=1)
        self.wait_until(lambda: not self.connections.unreachable)
        assert worker.recv(1) == b"!"
        return worker

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            assert self.connections.wait(0.01) == []


def has_read(client: socket.socket) -> bool:
    """Whether there is something to read, or the connection is closed."""
    client.setblocking(False)
    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    finally:
        client.settimeout(30)
    return True


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed the connection, after its challenge."""
    client.setblocking(False)
    try:
        return not client.recv(1000)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.fixture
def server():
    made = Server()
    yield made
    for client in made.clients:
        client.close()
    made.connections.close()


def test_a_port_scan_or_a_browser_at_the_servers_port_keeps_no_worker_out(server):
    server.client(b"").close()
    browser = server.client(b"GET / HTTP/1.1\r\nHost: somewhere\r\nAccept: text/html\r\n\r\n")
    guesser = server.answer(rank=1, key=b"t" * 16)
    server.client(b"")  # stays, and says nothing
    server.wait_until(lambda: is_closed(browser) and is_closed(guesser))
    worker = server.worker()
    server.connections.send(b"beat")
    assert worker.recv(8) == b"beat"


@pytest.mark.parametrize("rank", [0, 2, 2**32 - 1])
def test_a_rank_number_that_no_worker_has_is_refused(server, rank):
    client = server.answer(rank)
    server.wait_until(lambda: is_closed(client))
    assert server.connections.unreachable == {1}


def test_a_second_connection_of_a_rank_is_refused(server):
    server.connections.unreachable = {1, 2}
    worker = server.answer(rank=1)
    server.wait_until(lambda: server.connections.unreachable == {2})
    double = server.answer(rank=1)
    server.wait_until(lambda: is_closed(double))
    server.connections.send(b"beat")
    assert (worker.recv(1), worker.recv(8)) == (b"!", b"beat")


def test_a_connection_that_says_nothing_is_closed(server, monkeypatch):
    monkeypatch.setattr(heartbeat_tcp, "TIMEOUTS", heartbeat_tcp.TIMEOUTS._replace(connect=0.05))
    silent = server.client(b"")
    hesitant = server.client(b"GET")
    server.wait_until(lambda: is_closed(silent) and is_closed(hesitant))


def test_a_late_worker_is_admitted_beside_many_idle_strangers(server):
    """Where the process may open few files, strangers that stay would take them all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + STRANGERS + 100, hard))
    try:
        for _ in range(STRANGERS):
            server.client(b"")
            server.connections.wait(30)
        server.worker()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_where_no_file_can_be_opened_the_oldest_stranger_makes_room(server):
    first = server.client(b"")
    server.connections.wait(30)
    last = server.client(b"")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        server.connections.wait(30)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    server.wait_until(lambda: is_closed(first))
    assert not is_closed(last)
    assert server.worker()


def test_the_key_crosses_no_connection(server):
    """A worker tells what it has only to a server that knows the key."""
    sent = []

    def listen(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        listener.close()  # else the worker would try the server's other names
        connection.sendall(b"c" * CHALLENGE_BYTES)
        sent.append(connection.recv(1000))
        connection.close()

    with socket.create_server(("localhost", 0)) as listener:
        thread = Thread(target=listen, args=[listener])
        thread.start()
        address = server.address._replace(port=listener.getsockname()[1], ip="")
        worker = connect(Worker(server, address), size=4)
        thread.join()
    assert sent == [b""]
    assert worker.unreachable == {0}
    worker.close()


def test_a_worker_and_the_server_connect(server):
    made = []
    thread = Thread(target=lambda: made.append(connect(Worker(server, server.address), size=4)))
    thread.start()
    server.wait_until(lambda: not server.connections.unreachable)
    thread.join()
    [worker] = made
    server.connections.send(b"beat")
    assert worker.wait(30) == [(0, b"beat")]
    worker.close()


def test_messages_are_received_whole_however_they_arrive(server):
    worker = server.worker()
    worker.sendall(b"one.tw")
    assert server.connections.wait(30) == [(1, b"one.")]
    assert server.connections.wait(30) == []
    worker.sendall(b"o.")
    assert server.connections.wait(30) == [(1, b"two.")]


def test_the_end_of_a_worker_is_received_as_an_empty_message(server):
    server.worker().close()
    assert server.connections.wait(30) == [(1, b"")]


def test_a_wait_ends_at_once_when_woken(server):
    for _ in range(100_000):
        server.connections.wake()
    assert server.connections.wait(1e6) == []
