"""`dying.py FOLDER HOW...`: jobs of two ranks inside one launch; in each, rank 1 fails as HOW says.

`killed`: by SIGKILL. `hangs`: it sleeps. `astray`: it waits inside MPI for a message that never
comes. `leaves`: it has done its work. Rank 0 waits inside MPI for rank 1 meanwhile. In
FOLDER/HOW.RANK are what each rank says and its process id.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from mpifl.parallel.heartbeat import Heartbeat
from mpifl.parallel.mpi import MPI

PATIENCE = 2.0


def play(ranks: MPI.Intracomm, how: str) -> None:
    heartbeat = Heartbeat(ranks)
    with heartbeat.listening(PATIENCE), heartbeat.playing():
        if ranks.rank == 1:
            fail(ranks, heartbeat, how)
        else:
            with heartbeat.waiting():
                ranks.Barrier()


def fail(ranks: MPI.Intracomm, heartbeat: Heartbeat, how: str) -> None:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "hangs":
        time.sleep(600)
    elif how == "astray":
        with heartbeat.waiting():
            ranks.recv(source=0)


if __name__ == "__main__":
    folder, *cases = sys.argv[1:]
    number, rank = divmod(MPI.COMM_WORLD.rank, 2)
    case = cases[number]
    (Path(folder) / f"{case}.{rank}.pid").write_text(str(os.getpid()))
    os.dup2(os.open(Path(folder) / f"{case}.{rank}.stderr", os.O_CREAT | os.O_WRONLY), 2)
    play(MPI.COMM_WORLD.Split(number), case)
