"""How a command on all ranks ends: its exit codes, and what is said of a failure, once, before all
ranks end.
"""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable

from mpifl.options import BadInput
from mpifl.parallel import launcher
from mpifl.parallel.communicator import AgreedBadInput, Communicator
from mpifl.parallel.heartbeat import Lost
from mpifl.parallel.mpi import stop_all
from mpifl.store import Refused, Superseded
from mpifl.terminal import say
from mpifl.training.rounds import RunFailed

DONE, BROKEN, BAD_INPUT, DIVERGED, TAKEN, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 75, 130
"""exit codes; STOPPED is what sysexits.h calls a temporary failure: `--resume` goes on"""


def on_all_ranks(action: Callable[[Communicator], int]) -> int:
    """The exit code of `action`; an unforeseen exception on any rank ends all ranks with its
    traceback.
    """
    communicator = None
    try:
        communicator = Communicator()
        return action(communicator)
    except AgreedBadInput as error:
        return _end(communicator, error, BAD_INPUT)
    except RunFailed as error:
        return _end(communicator, error, DIVERGED)
    # this rank's alone: the others would wait for it for ever
    except (BadInput, Superseded, Lost) as error:
        code = (
            BAD_INPUT
            if isinstance(error, BadInput)
            else TAKEN
            if isinstance(error, Superseded)
            else BROKEN
        )
        return _end_all(communicator, f"{_rank(communicator)}{error}", code)
    except Refused as error:
        what = f"{error.filename}: expected to write it; got {error.strerror}"
        todo = "what was written before is whole: mend that, then the same command with --resume goes on"
        return _end_all(communicator, f"{_rank(communicator)}{what}; {todo}", BROKEN)
    except KeyboardInterrupt:
        return _end_all(
            communicator, f"{_rank(communicator)}interrupted before the first round", INTERRUPTED
        )
    except BaseException:
        rank = communicator.rank if communicator else "unknown"
        _say(f"rank {rank} on {socket.gethostname()} failed:\n{traceback.format_exc()}")
        if communicator:
            communicator.heartbeat.fail()
        stop_all(BROKEN)
        return BROKEN


def _end(communicator: Communicator, error: Exception, code: int) -> int:
    if communicator.is_server:
        _say(str(error))
    return code


def _end_all(communicator: Communicator | None, line: str, code: int) -> int:
    if communicator or launcher.first():
        _say(line)
    stop_all(code)
    return code


def _rank(communicator: Communicator | None) -> str:
    return f"rank {communicator.rank}: " if communicator and communicator.size > 1 else ""


def _say(line: str) -> None:
    say(f"mpifl: {line}", error=True)
