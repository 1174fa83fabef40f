"""`dying.py RANK HOW`: one rank of a job dies, or falls silent, while the others wait inside MPI.

`killed`: by SIGKILL. `gone`: by os._exit(0). `stopped`: by SIGSTOP. `hangs`: it sleeps. `astray`: it waits too, in
another collective. `leaves`: it has nothing more to do. `late`: it is killed when the others have nothing more to do.
In the folder RANK.HOW of the working directory are what each rank says, and `time`, written when it happens.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from mpifl import signs
from mpifl.exits import DONE, on_all_ranks
from mpifl.federation import Federation

PATIENCE = 2.5


def dies(federation: Federation) -> int:
    folder = Path(f"{rank}.{how}")
    folder.mkdir(exist_ok=True)
    os.dup2(os.open(folder / f"{federation.rank}.{os.getpid()}", os.O_CREAT | os.O_WRONLY), 2)
    with federation.pulse.listening(patience=PATIENCE), federation.pulse.playing():
        federation.Barrier()
        if federation.rank == int(rank):
            time.sleep(2.0 * (how == "late"))
            (folder / "time").touch()
            happen()
        if how == "late" or (how, federation.rank) == ("leaves", int(rank)):
            return DONE
        (federation.node if (how, federation.rank) == ("astray", int(rank)) else federation).Barrier()
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
    signs._LEFT = PATIENCE
    sys.exit(on_all_ranks(dies))
