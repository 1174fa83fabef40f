"""`dying.py RANK HOW`: one rank of a job dies, or falls silent, while the others wait inside MPI.

`killed`: by SIGKILL. `gone`: by os._exit(0). `stopped`: by SIGSTOP. `hangs`: it sleeps. `astray`:
it waits too, in another collective. `leaves`: it has nothing more to do. `late`: it is killed when
the others have nothing more to do. In the folder RANK.HOW of the working directory are what each
rank says, and `time`, written when it happens.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from mpifl.parallel import failure_detector
from mpifl.parallel.communicator import Communicator
from mpifl.runner.exit_codes import DONE, on_all_ranks

PATIENCE = 2.5


def dies(communicator: Communicator) -> int:
    folder = Path(f"{rank}.{how}")
    folder.mkdir(exist_ok=True)
    os.dup2(os.open(folder / f"{communicator.rank}.{os.getpid()}", os.O_CREAT | os.O_WRONLY), 2)
    with communicator.heartbeat.listening(patience=PATIENCE), communicator.heartbeat.playing():
        communicator.Barrier()
        if communicator.rank == int(rank):
            time.sleep(2.0 * (how == "late"))
            (folder / "time").touch()
            happen()
        if how == "late" or (how, communicator.rank) == ("leaves", int(rank)):
            return DONE
        (
            communicator.node if (how, communicator.rank) == ("astray", int(rank)) else communicator
        ).Barrier()
    return DONE


def happen() -> None:
    if how == "gone":
        os._exit(0)
    if how == "hangs":
        time.sleep(60)
    elif how not in ("astray", "leaves"):
        os.kill(os.getpid(), signal.SIGSTOP if how == "stopped" else signal.SIGKILL)


if __name__ == "__main__":
    rank, how = sys.argv[1:]
    failure_detector._LEFT = PATIENCE
    sys.exit(on_all_ranks(dies))
