"""Rank 1 takes longer at its end than another rank would wait for it inside MPI."""

from __future__ import annotations

import atexit
import time

from mpifl.parallel.heartbeat import Heartbeat
from mpifl.parallel.mpi import MPI
from mpifl.parallel.timeouts import TIMEOUTS

if __name__ == "__main__":
    Heartbeat(MPI.COMM_WORLD)
    if MPI.COMM_WORLD.rank == 1:
        atexit.register(time.sleep, 3 * TIMEOUTS.early)  # before what a Heartbeat does at exit
