"""A run's stored config in the lines of `mpifl show`, and as text with the defaults in comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpifl.config import renamed, toml
from mpifl.options import BadInput
from mpifl.runner import known_defaults

_TABLES = (
    "data",
    "partition",
    "holdout",
    "model",
    "algorithm",
    "local",
    "participation",
    "heterogeneity",
    "evaluation",
)
_SINGLE = ("init", "init_head", "objective", "buffers", "divergence")
"""options of the config that stand in no table"""


def short(stored: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What is said of a config: what differs from the defaults; or all, if it is of no use today.

    Also whether that is all of it.
    """
    if not stored:
        return stored, True
    try:
        return known_defaults.short(renamed(stored)), False
    except known_defaults.Unknown:
        pass
    from mpifl.runner import differences, schema  # takes a second

    try:
        return differences.short(schema.resolve(stored)), False
    except BadInput:
        return stored, True


def lines(stored: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each table of a config in one line; then the options that stand in no table, and the loss."""
    for key in _TABLES:
        if key in stored:
            shown = {name: value for name, value in stored[key].items() if name != "loss"}
            line = _line(shown)
            if line.startswith("("):
                line = line[1:-1]
            if line:
                yield key, line
    for key in _SINGLE:
        if stored.get(key):
            yield key, str(stored[key])
    if "loss" in stored.get("local", {}):
        yield "loss", str(stored["local"]["loss"])


def _line(options: object) -> str:
    """One part of the config as `name (option=value, ...)`, without empty options."""
    if not isinstance(options, dict):
        return str(options)
    name = str(options.get("name", options.get("kind", "")))
    words = []
    for key, value in options.items():
        if key not in ("name", "kind") and value not in ("", {}):
            words.append(f"{key}={_line(value)}")
    if not words:
        return name
    return f"{name} ({', '.join(words)})".strip()


def marked(config: str) -> str:
    """The stored config; comments give the defaults of what differs from them."""
    from mpifl.runner import differences, schema

    stored = parsed(config)
    if not stored:
        return config.rstrip()
    try:
        return differences.marked_text(schema.resolve(stored), config)
    except BadInput:
        return config.rstrip()


def parsed(config: str) -> dict[str, Any]:
    """The stored config as it stands; {} for one that is no TOML."""
    try:
        return toml(config, "the stored config")
    except BadInput:  # the rest of the run is still shown
        return {}
