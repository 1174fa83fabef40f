"""`apart.py ...` is `mpifl ...` where no worker can reach the server by TCP: MPI goes other ways."""

from __future__ import annotations

import socket

from mpifl.cli import main
from mpifl.parallel import heartbeat_tcp


def unreachable(*_: object) -> socket.socket:
    raise TimeoutError("timed out")


if __name__ == "__main__":
    heartbeat_tcp._REACH, socket.create_connection = 0.01, unreachable
    main()
