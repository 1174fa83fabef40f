"""`serving.py PORT`: a rank that calls functions for tests, until their connection is closed.

See job.py.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the names of modules are those of the tests

from mpi.job import RANKS

from mpifl.parallel.communicator import Communicator
from mpifl.parallel.mpi import MPI

os.fsync = lambda descriptor: None  # as in conftest.py

WORLD = MPI.COMM_WORLD
GROUPS = {
    ranks: WORLD.Split(0 if WORLD.rank < ranks else MPI.UNDEFINED, WORLD.rank)
    for ranks in range(1, RANKS + 1)
}


@cache
def communicator(ranks: int) -> Communicator:
    return Communicator(GROUPS[ranks])


def serve(connection: Connection) -> None:
    connection.send(WORLD.rank)
    while True:
        try:
            ranks, function, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = (True, function(communicator(ranks), *arguments))
        except BaseException:
            answer = (False, f"rank {WORLD.rank}: {traceback.format_exc()}")
        connection.send(answer)


if __name__ == "__main__":
    serve(Connection(socket.create_connection(("localhost", int(sys.argv[1]))).detach()))
