"""The options that a resumed run must keep: with others, its rounds would not belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

from mpifl.config import added, first_loss, first_name, flat, name_today, parse
from mpifl.options import BadInput

_WHERE = "evaluation.where"
"""who evaluates: that changes no bit of the run"""
_MAY_CHANGE = {"name", "evaluation.every", "evaluation.target_accuracy", "plugins", "callbacks"}
"""callbacks only tell of the run; plugins are compared by what is stored of them: see
runner/stored_plugins.py
"""
_SOURCES = {"data.path", "data.name", "partition.path"}
"""where data and partition come from: what counts is what is found there"""
_START = "init"
"""where the first weights come from: what counts is whether there are any, and what they are"""
_TABLES_THAT_MAY_CHANGE = ("results.", "runtime.", "published.")
_ABSENT = object()


def digest(config: str) -> str:
    """SHA-256 in hex of the options in TOML text that a resumed run must keep, but `rounds`.

    Neither their order nor the form of the text matters. Options are taken under their first names,
    so that the digest stays the same when an option is renamed.
    """
    return _digest(_binding(config, _SOURCES))


def digests(config: str) -> set[str]:
    """The digest of a config, and those that earlier versions made of it."""
    binding = _binding(config, _SOURCES)
    shared = {_WHERE: "shared"}
    return {
        digest(config),
        _digest(_binding(config)),
        _digest(binding | shared),
        _digest(_binding(config) | shared),
    }


def _digest(binding: dict[str, Any]) -> str:
    options = {first_name(key): value for key, value in binding.items()}
    options.pop("rounds", None)
    return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()


def check_same(where: str, old: str, new: str, free_sources: bool = True) -> None:
    """Compare the config of a run with the one to resume it with, both TOML text.

    `free_sources` says whether data and partition may come from other paths. Raises BadInput naming
    the first option that may not change, or `rounds` if it is fewer.
    """
    free = _SOURCES if free_sources else set()
    before = _binding(old, free)
    after = _binding(new, free)
    before.pop(_WHERE, None)
    after.pop(_WHERE, None)
    as_before = added(before.get("clients"))
    for key in dict.fromkeys((*before, *after)):
        was = before.get(key, as_before.get(key, _ABSENT))
        now = after.get(key, as_before.get(key, _ABSENT))
        if key == "rounds" and type(was) is type(now) is int:
            if now < was:
                raise BadInput(
                    f"{where}: rounds: expected {was} or more, as the run was begun; got {now}"
                )
        elif (type(was), was) != (type(now), now):
            raise BadInput(
                f"{where}: {key}: expected {_shown(was)}, as the run was begun; got {_shown(now)}; "
                "allowed to change: rounds (more of them), name, results, runtime, "
                "evaluation.every, evaluation.where, evaluation.target_accuracy, paths of the same "
                "data"
            )


def _binding(config: str, free: Collection[str] = ()) -> dict[str, Any]:
    """The options that may not change, by today's name; those of `free` may."""
    options = flat(parse(config, "the config of a run"))
    as_before = added(options.get("clients"))
    binding = {}
    for key, value in options.items():
        name = name_today(key)
        if name == "local.loss" and isinstance(value, str):
            value = first_loss(value)
        if name == _START and value and free:
            value = "weights"
        if name == _WHERE:
            value = "server"  # as in digests of before it could change
        is_as_before = name in as_before and value == as_before[name]
        if name not in free and not _may_change(name) and not is_as_before:
            binding[name] = value
    return binding


def _may_change(key: str) -> bool:
    return key in _MAY_CHANGE or key.startswith(_TABLES_THAT_MAY_CHANGE)


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "no such option"
    return str(value).lower() if isinstance(value, bool) else repr(value)
