"""The options that bind a run: a resumed run must keep them, or its rounds would not belong
together.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from typing import Any

from mpifl.config import first_name, flat, name_today
from mpifl.options import BadInput

_FREE = (
    "name",
    "evaluation.every",
    "evaluation.target_accuracy",
    "results.",
    "runtime.",
    "published.",
)
"""what may change: options, and (with a dot at the end) whole tables"""
_ABSENT = object()


def digest(config: str) -> str:
    """SHA-256 in hex of the binding options of a TOML text, whatever their order and the text's
    form.

    It is of the options' first names, so that it stays the same when an option is renamed.
    """
    options = {first_name(key): value for key, value in _binding(config).items() if key != "rounds"}
    return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()


def check_same(where: str, old: str, new: str) -> None:
    """Raise BadInput naming the first option of TOML text `new` that a run begun with `old` may not
    change.
    """
    before, after = _binding(old), _binding(new)
    for key in dict.fromkeys((*before, *after)):
        was, now = before.get(key, _ABSENT), after.get(key, _ABSENT)
        if key == "rounds" and type(was) is type(now) is int:
            if now < was:
                raise BadInput(
                    f"{where}: rounds: expected {was} or more, as the run was begun; got {now}"
                )
        elif (type(was), was) != (type(now), now):
            raise BadInput(
                f"{where}: {key}: expected {_told(was)}, as the run was begun; got {_told(now)}; "
                "a resumed run may change more rounds, name, results, runtime, evaluation.every and .target_accuracy"
            )


def _binding(config: str) -> dict[str, Any]:
    options = {name_today(key): value for key, value in flat(tomllib.loads(config)).items()}
    return {key: value for key, value in options.items() if not _is_free(key)}


def _is_free(key: str) -> bool:
    return any(key.startswith(free) if free.endswith(".") else key == free for free in _FREE)


def _told(value: object) -> str:
    return "no such option" if value is _ABSENT else repr(value)
