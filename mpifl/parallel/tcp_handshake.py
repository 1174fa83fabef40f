"""How the server and a worker know each other on a port that anybody may connect to.

The workers get a secret key by MPI, which no TCP connection carries:

1. The server sends a random challenge, and its HMAC, by which a worker knows the server.
2. The worker answers with its rank, and the HMAC of challenge and rank.
3. The server sends a welcome. It closes a connection that gives no right answer in a few seconds.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from contextlib import suppress

from mpifl.parallel.timeouts import TIMEOUTS

_KEY_BYTES = 16
_CHALLENGE_BYTES = 16
_RANK_BYTES = 4
_HMAC_BYTES = 32
ANSWER_BYTES = _RANK_BYTES + _HMAC_BYTES
WELCOME = b"!"


def new_key() -> bytes:
    """The secret of one run, for all its ranks."""
    return secrets.token_bytes(_KEY_BYTES)


def new_challenge() -> bytes:
    """What one connection has to answer."""
    return secrets.token_bytes(_CHALLENGE_BYTES)


def greeting(key: bytes, challenge: bytes) -> bytes:
    """The server's first message."""
    return challenge + _hmac(key, challenge)


def rank_in(answer: bytes, key: bytes, challenge: bytes) -> int | None:
    """The rank of the worker that gave this answer; None for anybody else."""
    rank_bytes = answer[:_RANK_BYTES]
    expected = rank_bytes + _hmac(key, challenge, rank_bytes)
    if hmac.compare_digest(answer, expected):
        return int.from_bytes(rank_bytes, "big")
    return None


def is_welcome(connection: socket.socket, key: bytes, rank: int) -> bool:
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
    return _receive(connection, len(WELCOME)) == WELCOME


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
