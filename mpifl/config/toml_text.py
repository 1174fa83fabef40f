"""TOML text -> a dict, within limits: a hostile file may take no long time or much memory."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import Any

from mpifl.options import BadInput

MOST_BYTES = 1 << 16
"""of a config: tables in tables take time in proportion to the square of their size"""
_MOST_DOTS = 100
_WORD = r"""[\w"'-]+"""
_LONG_KEY = re.compile(rf"(?<![\w\"'.-]){_WORD}(?:[ \t]*\.[ \t]*{_WORD}){{{_MOST_DOTS}}}")
DEEPEST = 20
"""tables and lists in each other, and configs in a chain of `extends`"""


def check_length(content: bytes | str, where: str) -> None:
    """Refuse a config that is too long."""
    if len(content) > MOST_BYTES:
        raise BadInput(f"{where}: expected a config of {MOST_BYTES} bytes at most; got more")


def toml(text: str, where: str) -> dict:
    """TOML text as a dict, with the names of options that it has.

    Raises BadInput that begins with `where`, also for what would take long to read.
    """
    check_length(text, where)
    try:
        raw = loaded(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{where}: expected TOML; got: {error}") from None
    check_size(raw, where)
    return raw


def loaded(text: str) -> dict:
    """TOML text as a dict. Raises TOMLDecodeError, also where a limit of Python's is met."""
    if _LONG_KEY.search(text):
        raise tomllib.TOMLDecodeError(f"a key with more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except (ValueError, RecursionError):  # a limit of Python's, which tomllib does not translate
        raise tomllib.TOMLDecodeError(
            "a number of thousands of digits, or thousands of brackets"
        ) from None


def check_size(raw: dict, where: str) -> None:
    """Refuse integers beyond TOML's 64 bits, and tables and lists that are nested too deep."""
    level = [("", raw)]
    for _ in range(DEEPEST + 1):
        inner = []
        for key, value in level:
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise BadInput(
                    f"{where}: {key[1:]}: expected an integer of 64 bits; got a longer one"
                )
            inner += [(f"{key}.{name}", item) for name, item in _items(value)]
        if not inner:
            return
        level = inner
    raise BadInput(
        f"{where}: {level[0][0][1:]}: expected tables and lists {DEEPEST} deep at most; "
        "got deeper ones"
    )


def _items(value: Any) -> Iterable[tuple[object, Any]]:
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list):
        return enumerate(value)
    return ()
