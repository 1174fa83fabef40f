"""Fuzzing: whatever is given is refused in one clear line, or understood; never a traceback, a loop
or a change.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mpifl.options import BadInput

Result = TypeVar("Result")
PATIENCE = 60
"""seconds that a case may take on a busy machine; most take a millisecond"""


@contextmanager
def no_loop() -> Iterator[None]:
    """TimeoutError after PATIENCE seconds, in C code as soon as it returns to Python; no thread, no
    process.
    """

    def end(number, frame):
        raise TimeoutError(f"not done after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(action: Callable[[], Result], case: object) -> Result | BadInput:
    """What `action` returns, or its BadInput, found to be one line; any other exception tells the
    `case`.
    """
    try:
        with no_loop():
            return action()
    except BadInput as mistake:
        line = str(mistake)
        assert line.isprintable() and 10 < len(line) < 1100, (case, line)
        return mistake
    except BaseException as problem:
        problem.add_note(f"for {str(case)[:2000]!a}")
        raise


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A file's content with a fault as disks, networks and editors make them; never the content
    itself.
    """
    result, size = bytearray(content), len(content)
    first = chance.randrange(size)
    last = min(size, first + chance.choice((1, 8, 512, 4096, size)))
    kind = chance.choice(("cut", "bit", "bits", "zeroed", "noise", "moved", "lost", "grown"))
    if kind == "cut":
        del result[first:]
    elif kind in ("bit", "bits"):
        for _ in range(1 if kind == "bit" else chance.randrange(2, 50)):
            result[chance.randrange(size)] ^= 1 << chance.randrange(8)
    elif kind == "zeroed":
        result[first:last] = bytes(last - first)
    elif kind == "noise":
        result[first:last] = chance.randbytes(last - first)
    elif kind == "moved":
        result[first:last], result[: last - first] = result[: last - first], result[first:last]
    elif kind == "lost":
        del result[first:last]
    else:
        result[first:first] = chance.randbytes(chance.randrange(1, 100))
    return bytes(result) if result != content else damaged(content, chance)
