"""BadInput, the error that users see in one line, and suggestions for names that are not known."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_LONGEST_LINE = 1000


class BadInput(ValueError):
    """The user gave something wrong; exit code 2.

    The message is one line: where, expected, got, allowed. Characters that would break the line or
    control a terminal are escaped. The middle of a message of more than 1,000 characters is left
    out.
    """

    def __init__(self, line: str) -> None:
        if len(line) > _LONGEST_LINE:
            line = _shortened(line)
        super().__init__("".join(_escaped(character) for character in line))


def _escaped(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def checked_path(where: str, given: Any) -> Path:
    """A path that users gave to Python's interface. Raises BadInput for what cannot be one."""
    text = given
    if isinstance(given, os.PathLike):
        text = os.fspath(given)
    if not isinstance(text, str) or text == "" or "\0" in text:
        raise BadInput(f"{where}: expected a path; got {given!r}")
    return Path(text)


def _shortened(line: str) -> str:
    """A line without its middle, cut between words."""
    start = line[: _LONGEST_LINE // 2]
    end = line[-_LONGEST_LINE // 3 :]
    if " " in start:
        start = start[: start.rindex(" ")]
    if " " in end:
        end = end[end.index(" ") + 1 :]
    return f"{start} ... {end}"


def similar(got: Any, allowed: Iterable[str]) -> str:
    """A question about the most similar allowed name; empty if none is similar.

    >>> similar("lr", ["rounds", "local.lr"]), similar("epoch", ["epochs"])
    ('; did you mean local.lr?', '; did you mean epochs?')
    """
    allowed = list(allowed)
    ends = [name for name in allowed if name.endswith(f".{got}")]
    if ends:
        return f"; did you mean {min(ends, key=lambda name: name.count('.'))}?"
    found = difflib.get_close_matches(str(got), allowed, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def suggestion(got: Any, allowed: Iterable[str]) -> str:
    """The end of an error line: the most similar allowed name, if any, and all allowed names."""
    allowed = list(allowed)
    return f"{similar(got, allowed) or ';'} allowed: {', '.join(allowed) or 'none'}"
