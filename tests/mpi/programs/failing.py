"""`failing.py HOW CONFIG OUT [key=value]...`: `mpifl run`, where things go wrong in round 2, for
client 3, by HOW.

`raise`: training raises. `nan`: the loss is not finite. `server`: the server's evaluation raises.
`refused`: it may not write, and its process ends a second after its connections.
`exit`, `vanish`, `killed`: the rank ends, as if all were well (by sys.exit and by os._exit) or by
SIGKILL. Each rank writes its process id into OUT.pids/, and the time of what went wrong into
OUT.time.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import sys
import time
from pathlib import Path

from mpifl.losses import LOSSES
from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.options import options
from mpifl.parallel.tcp_messages import Connections
from mpifl.runner import exit_codes, session
from mpifl.store import Refused
from mpifl.training import evaluate as evaluation

ROUND, CLIENT = 2, 3


@options
class FailingAt(CrossEntropy):
    """Cross-entropy, but for one client in one round."""

    how: str
    out: str

    def __call__(self, step):
        value = super().__call__(step)
        if (step.context.round, step.context.client) == (ROUND, CLIENT):
            note_time(self.out)
            if self.how == "raise":
                raise RuntimeError("as asked for")
            if self.how == "exit":
                sys.exit(0)
            if self.how == "vanish":
                os._exit(0)
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "nan":
                return value * float("nan")
        return value


def note_time(out: str) -> None:
    Path(f"{out}.time").write_text(str(time.time()))


def failing_evaluation(out: str, error: Exception) -> None:
    whole = evaluation.evaluate

    def evaluate(*given):
        if Path(out).is_dir():
            note_time(out)
            raise error
        return whole(*given)

    evaluation.evaluate = evaluate


def stop_slowly(code: int) -> None:
    """As on a busy machine: the launcher ends the other ranks when they have long noticed."""
    for of_this_rank in gc.get_objects():
        if isinstance(of_this_rank, Connections):
            for connection in list(of_this_rank._connected.values()):
                connection.shutdown(socket.SHUT_RDWR)
    time.sleep(1)
    os._exit(code)


if __name__ == "__main__":
    how, config, out, *assignments = sys.argv[1:]
    pids = Path(f"{out}.pids")
    pids.mkdir(exist_ok=True)
    (pids / str(os.getpid())).touch()
    LOSSES["failing"] = FailingAt
    if how == "server":
        failing_evaluation(out, RuntimeError("as asked for"))
    if how == "refused":
        failing_evaluation(out, Refused(errno.ENOSPC, "No space left on device", out))
        exit_codes.stop_all = stop_slowly
    loss = f"local.loss=failing(how={how!r}, out={out!r})"
    sys.exit(session.main(config, [loss, *assignments], session.Target(Path(out))))
