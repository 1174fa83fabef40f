"""`apart.py ...` is `mpifl ...` where no worker can reach the server by TCP, only by MPI."""

from __future__ import annotations

import os
import socket


def unreachable(*_: object) -> socket.socket:
    raise TimeoutError("timed out")


if __name__ == "__main__":
    os.environ["MPIFL_TIMEOUTS"] = "connect=0.01"
    socket.create_connection = unreachable

    from mpifl.cli import main

    main()
