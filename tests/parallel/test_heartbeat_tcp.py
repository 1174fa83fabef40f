"""The connections between the server and its workers."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from mpifl.parallel.heartbeat_tcp import Connections, connect

HELLO = b"\0\0\0\1"  # a worker's rank, behind the key


class Ranks:
    """Rank 0 of two; keeps what the server tells the workers."""

    rank = 0
    size = 2

    def allgather(self, own: Any) -> list[Any]:
        self.host, self.address = own
        return [own, (self.host, None)]


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

    def worker(self) -> socket.socket:
        """A worker that has been welcomed."""
        worker = self.client(self.address.key + HELLO)
        while self.connections.unreachable:
            self.connections.wait(30)
        assert worker.recv(1) == b"!"
        return worker


@pytest.fixture
def server():
    made = Server()
    yield made
    for client in made.clients:
        client.close()
    made.connections.close()


def test_a_port_scan_or_a_browser_at_the_servers_port_keeps_no_worker_out(server):
    server.client(b"").close()
    browser = server.client(b"GET / HTTP/1.1\r\n\r\n")
    guesser = server.client(b"t" * 16 + HELLO)
    server.client(b"")  # stays, and says nothing
    worker = server.worker()
    server.connections.send(b"beat")
    assert worker.recv(8) == b"beat"
    assert browser.recv(8) == guesser.recv(8) == b""  # closed


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
