"""How the process of a command begins and ends: fast imports, MPI first, errors in one line."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

BROKEN = 1
BAD_INPUT = 2
BROKEN_PIPE = 141  # what a shell reports of a process that SIGPIPE ended


@contextmanager
def imports_for_ranks(mpi: bool = True) -> Iterator[None]:
    """Import inside this what a command on MPI ranks needs.

    MPI comes first: from then on, a rank that fails, or gets a SIGINT, ends the others. Garbage
    collection is off during the imports, and later skips what they made: a short run takes 25 %
    less time, and so does a plan.
    """
    if mpi:
        _start_mpi()
    torch_is_new = "torch" not in sys.modules
    gc.disable()
    yield
    if torch_is_new:
        gc.freeze()
    gc.enable()


def _start_mpi() -> None:
    """Start MPI, or end in one line and exit code 2 if the launcher is another MPI's."""
    from mpifl.options import BadInput
    from mpifl.parallel import launcher

    try:
        import_module("mpifl.parallel.mpi").end_all_on_interrupt()
    except BadInput as error:
        launcher.say_once(f"mpifl: {error}")
        sys.exit(BAD_INPUT)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Do inside this what a command without MPI does.

    Bad input, a file system that refuses, and output that cannot be written end in one line and
    exit code 2; a GPU that is out of memory in one line and 1. If the reader closes the pipe
    (`mpifl show RUN | head`), the command ends silently.
    """
    from mpifl.options import BadInput
    from mpifl.terminal import output_failure, say

    try:
        yield
    except BadInput as error:
        say(f"mpifl: {error}", error=True)
        sys.exit(BAD_INPUT)
    except OSError as error:
        say(f"mpifl: {_refusal(error)}", error=True)
        sys.exit(BAD_INPUT)
    except RuntimeError as error:
        _end_out_of_memory(error)
        raise
    failure = output_failure()
    if isinstance(failure, BrokenPipeError):
        sys.exit(BROKEN_PIPE)
    if failure is not None:
        say(unwritten(failure), error=True)
        sys.exit(BAD_INPUT)


def _end_out_of_memory(error: RuntimeError) -> None:
    """End in one line and exit code 1 if a GPU is out of memory."""
    from mpifl.runner import out_of_memory
    from mpifl.terminal import say

    line = out_of_memory.line(error)
    if line is not None:
        say(f"mpifl: {line}", error=True)
        sys.exit(BROKEN)


def _refusal(error: OSError) -> str:
    """What a file system has refused."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: expected to read or write it; got {error.strerror}"


def unwritten(failure: OSError) -> str:
    """The line that tells of output that could not be written."""
    return f"mpifl: stdout: expected to write to it; got {failure.strerror}"
