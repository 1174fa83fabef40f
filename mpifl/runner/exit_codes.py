"""The exit codes of commands that run on all ranks, and what is printed when one fails."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable

from mpifl.options import BadInput
from mpifl.parallel import launcher
from mpifl.parallel.communicator import AgreedBadInput, Communicator
from mpifl.parallel.heartbeat import Lost
from mpifl.parallel.mpi import INTERRUPTED, raise_on_interrupt, stop_all
from mpifl.runner import out_of_memory
from mpifl.store import Refused, Superseded
from mpifl.terminal import say
from mpifl.training.rounds import RunFailed

DONE = 0
BROKEN = 1
"""an unexpected exception, a lost rank, or a file that cannot be written"""
BAD_INPUT = 2
DIVERGED = 3
TAKEN = 4
"""another job has taken over the run's folder"""
STOPPED = 75
"""stopped with a checkpoint; `--resume` continues (a temporary failure in sysexits.h)"""


def on_all_ranks(action: Callable[[Communicator], int]) -> int:
    """Call `action` with the communicator of all ranks; return the exit code of this process.

    The process is expected to end after that. A failure of this rank alone ends all ranks: the
    others would wait for it forever.
    """
    try:
        communicator = Communicator()
    except BadInput as error:
        return _fail_unconnected(str(error), BAD_INPUT)
    try:
        raise_on_interrupt()
        code = action(communicator)
    except AgreedBadInput as error:
        code = _fail_together(communicator, error, BAD_INPUT)
    except RunFailed as error:
        code = _fail_together(communicator, error, DIVERGED)
    except BadInput as error:
        return _fail_alone(communicator, str(error), BAD_INPUT)
    except Superseded as error:
        return _fail_alone(communicator, str(error), TAKEN)
    except Lost as error:
        return _fail_alone(communicator, str(error), BROKEN)
    except Refused as error:
        return _fail_alone(communicator, _unwritten(error), BROKEN)
    except KeyboardInterrupt:
        return _fail_alone(communicator, "interrupted", INTERRUPTED)
    except BaseException as error:
        return fail_unexpectedly(communicator, error)
    communicator.heartbeat.ending()
    return code


def _fail_unconnected(line: str, code: int) -> int:
    """This process does not know its rank yet; the launcher's first one prints the line."""
    if launcher.is_first():
        _say(line)
    stop_all(code)
    return code


def _fail_together(communicator: Communicator, error: Exception, code: int) -> int:
    """All ranks have failed in the same way and end in order; the server prints the line."""
    if communicator.is_server:
        _say(str(error))
    return code


def _fail_alone(communicator: Communicator, line: str, code: int) -> int:
    """Print the line, and end all ranks."""
    if communicator.size > 1:
        line = f"rank {communicator.rank}: {line}"
    _say(line)
    communicator.heartbeat.end_others()
    stop_all(code)
    return code


def fail_unexpectedly(communicator: Communicator, error: BaseException) -> int:
    """Print an unexpected exception, tell the server, and end all ranks.

    It is printed with its traceback, but for a GPU that is out of memory.
    """
    host = socket.gethostname()
    line = out_of_memory.line(error)
    if line is None:
        trace = "".join(traceback.format_exception(error))
        _say(f"rank {communicator.rank} on {host} failed:\n{trace}")
    else:
        _say(f"rank {communicator.rank}: {line}")
    communicator.heartbeat.fail()
    stop_all(BROKEN)
    return BROKEN


def _unwritten(error: Refused) -> str:
    return (
        f"{error.filename}: expected to write it; got {error.strerror}; what was written before is "
        "complete: correct that, then continue by the same command with --resume"
    )


def _say(line: str) -> None:
    say(f"mpifl: {line}", error=True)
