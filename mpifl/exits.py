"""How a command on all ranks ends: its exit codes, and what is said of a failure, once, before all ranks end."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable

from mpifl import launching
from mpifl.federation import AgreedBadInput, Federation
from mpifl.mpi import stop_all
from mpifl.pulse import Lost
from mpifl.rounds import RunFailed
from mpifl.settings import BadInput
from mpifl.store import Refused, Superseded
from mpifl.tables import say

DONE, BROKEN, BAD_INPUT, DIVERGED, TAKEN, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 75, 130
"""exit codes; STOPPED is what sysexits.h calls a temporary failure: `--resume` goes on"""


def on_all_ranks(action: Callable[[Federation], int]) -> int:
    """The exit code of `action`; an unforeseen exception on any rank ends all ranks with its traceback."""
    federation = None
    try:
        federation = Federation()
        return action(federation)
    except AgreedBadInput as error:
        return _end(federation, error, BAD_INPUT)
    except RunFailed as error:
        return _end(federation, error, DIVERGED)
    except (BadInput, Superseded, Lost) as error:  # this rank's alone: the others would wait for it for ever
        code = BAD_INPUT if isinstance(error, BadInput) else TAKEN if isinstance(error, Superseded) else BROKEN
        return _end_all(federation, f"{_rank(federation)}{error}", code)
    except Refused as error:
        what = f"{error.filename}: expected to write it; got {error.strerror}"
        todo = "what was written before is whole: mend that, then the same command with --resume goes on"
        return _end_all(federation, f"{_rank(federation)}{what}; {todo}", BROKEN)
    except KeyboardInterrupt:
        return _end_all(federation, f"{_rank(federation)}interrupted before the first round", INTERRUPTED)
    except BaseException:
        rank = federation.rank if federation else "unknown"
        _say(f"rank {rank} on {socket.gethostname()} failed:\n{traceback.format_exc()}")
        if federation:
            federation.pulse.fail()
        stop_all(BROKEN)
        return BROKEN


def _end(federation: Federation, error: Exception, code: int) -> int:
    if federation.is_server:
        _say(str(error))
    return code


def _end_all(federation: Federation | None, line: str, code: int) -> int:
    if federation or launching.first():
        _say(line)
    stop_all(code)
    return code


def _rank(federation: Federation | None) -> str:
    return f"rank {federation.rank}: " if federation and federation.size > 1 else ""


def _say(line: str) -> None:
    say(f"mpifl: {line}", error=True)
