"""Lines of text on stdout and stderr. Printing never fails.

Characters that the stream's encoding lacks are written in others, and control characters are
escaped: no name in a stored file can control a terminal.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable
from typing import TextIO

_IN_ASCII = {
    "±": "+/-",
    "−": "-",
    "–": "-",
    "×": "x",
    "→": "->",
    "…": "...",
    "‖": "||",
    "λ": "lambda",
}


def say(text: str, error: bool = False) -> None:
    """Print text and a line break to stdout, or to stderr with `error`. It never fails.

    Where it cannot be written (`mpifl run ... | head`, a log on a full disk), this text and all
    later ones are dropped, and the command continues. `output_failure` says why.
    """
    print_exactly(printable(text), error)


def say_exactly(text: str) -> None:
    """Print text to stdout as UTF-8, to the byte; in a terminal as `say` does. It never fails."""
    stream = sys.stdout
    if is_terminal(stream) or not hasattr(stream, "buffer"):
        say(text)
        return
    try:
        stream.flush()
        stream.buffer.write(text.encode())
        stream.flush()
    except OSError as failure:
        sys.stdout = _Nowhere(failure.with_traceback(None))


def print_exactly(text: str, error: bool = False) -> None:
    """Print text as it is, with its control characters."""
    if _hide is not None:
        _hide()
    failure = write(sys.stderr if error else sys.stdout, f"{text}\n")
    if failure is None:
        return
    if error:
        sys.stderr = _Nowhere(failure)
    else:
        sys.stdout = _Nowhere(failure)


def write(stream: TextIO | None, text: str) -> OSError | None:
    """Write text, if the stream is open. Returns why it could not be written, if it could not."""
    if stream is None or stream.closed:
        return None
    try:
        stream.write(encodable(text, stream.encoding))
        stream.flush()
    except OSError as failure:
        return failure.with_traceback(None)  # which would keep the stream alive
    return None


class _Nowhere(io.TextIOWrapper):
    """A stream that drops everything, in the place of one that failed."""

    def __init__(self, failure: OSError) -> None:
        super().__init__(open(os.devnull, "wb"))  # noqa: SIM115 - for the rest of the process
        self.failure = failure


def output_failure() -> OSError | None:
    """Why lines that `say` printed to stdout were dropped; None if none were."""
    return getattr(sys.stdout, "failure", None)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is open and somebody looks at it."""
    return stream is not None and not stream.closed and stream.isatty()


_hide: Callable[[], None] | None = None
"""hides what stands in the last line of the terminal"""


def hide_before_text(hide: Callable[[], None] | None) -> None:
    """Call `hide` before any text is printed, from now on; with None, nothing more."""
    global _hide
    _hide = hide


# --- characters ---------------------------------------------------------------------------------


def printable(text: str, kept: str = "\n\t") -> str:
    r"""Text with its control characters escaped, except those `kept`.

    >>> printable(chr(27) + "[31m") == r"\x1b[31m"
    True
    """
    if text.isprintable():
        return text
    return "".join(_escaped(character, kept) for character in text)


def _escaped(character: str, kept: str) -> str:
    if character.isprintable() or character in kept:
        return character
    return ascii(character)[1:-1]


def encodable(text: str, encoding: str | None) -> str:
    """Text in which characters that the encoding lacks are replaced, such as ± by +/-."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, _REPLACE).decode(encoding)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """An error handler for codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(character, "?") for character in missing), error.end


_REPLACE = "mpifl.replace"
codecs.register_error(_REPLACE, _replace)
