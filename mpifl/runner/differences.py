"""Which options of a config differ from their defaults."""

from __future__ import annotations

import json
import re
from dataclasses import is_dataclass
from typing import Any

import tomli_w

from mpifl.losses import LOSSES
from mpifl.losses.expression import parse, render
from mpifl.options import BadInput, option_names
from mpifl.runner import schema
from mpifl.runner.known_defaults import PARTS
from mpifl.runner.trackers import TRACKERS, Tracker

_LOSS = "local.loss"
_NONE = object()
"""in the place of a default, where there is none"""
_SECTION = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"(\w+) = ")


def changed(config: schema.Config) -> dict[str, Any]:
    """The options that differ from their defaults, by dotted name.

    The defaults of a section with a name are those of that name.
    """
    return {name: now for name, (now, _) in _changes(config).items()}


def short_text(config: schema.Config) -> str:
    """The options that differ from their defaults, and the parts' names, as TOML text."""
    return tomli_w.dumps(short(config))


def short(config: schema.Config) -> dict[str, Any]:
    """The options that differ from their defaults, and the parts' names, as a table."""
    named = {} if config.data.path else {"name": config.data.name}  # a packed file has its own
    table: dict[str, Any] = {"data": named}
    for part in PARTS:
        table[part] = {"name": _name_of(part, getattr(config, part))}
    for path, value in changed(config).items():
        *sections, name = path.split(".")
        inner = table
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    if config.plugins:
        table["plugins"] = [entry.rpartition("@")[0] for entry in config.plugins]
    if config.callbacks:
        table["callbacks"] = [_short_tracker(tracker) for tracker in config.callbacks]
    return table


def _short_tracker(tracker: Tracker) -> str | dict[str, Any]:
    """Its name, with the options that differ from their defaults."""
    name = next(name for name, kind in TRACKERS.items() if type(tracker) is kind)
    changes = _compare(tracker, _with_defaults(type(tracker)), "")
    differing = {option: now for option, (now, _) in changes.items()}
    if not differing:
        return name
    return {"name": name, **differing}


def marked_text(config: schema.Config, text: str) -> str:
    """TOML text of the config, with the defaults of what differs from them as comments."""
    changes = _changes(config)
    section = ""
    lines = []
    for line in text.rstrip().splitlines():
        header = _SECTION.fullmatch(line)
        option = _OPTION.match(line)
        if header:
            section = f"{header[1]}."
        if option and f"{section}{option[1]}" in changes:
            line += _comment(changes[f"{section}{option[1]}"][1])
        lines.append(line)
    return "\n".join(lines)


def _comment(default: Any) -> str:
    if default is _NONE:
        return "  # no default"
    return f"  # default: {json.dumps(default)}"


def _changes(config: schema.Config) -> dict[str, tuple[Any, Any]]:
    """Value and default of the options that differ."""
    found = dict(_compare(config, schema.Config(), ""))
    if _LOSS in found:
        now, default = (render(parse(loss, LOSSES), LOSSES) for loss in found[_LOSS])
        if now == default:
            del found[_LOSS]
    return found


def _compare(group: Any, default: Any, prefix: str) -> dict[str, tuple[Any, Any]]:
    """What differs between two groups of options; the default may be another group, or none."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in option_names(group.__class__):
        path = f"{prefix}{name}"
        now = getattr(group, name)
        was = getattr(default, name, _NONE)
        if not is_dataclass(now):
            if now != was:
                found[path] = now, was
            continue
        if type(now) is not type(was):
            found[f"{path}.name"] = _name_of(path, now), _name_of(path, was)
            was = _with_defaults(type(now))
        found.update(_compare(now, was, f"{path}."))
    return found


def _name_of(path: str, group: object) -> Any:
    for name, kind in schema.TABLES[path].items():
        if type(group) is kind:
            return name
    return _NONE


def _with_defaults(kind: type) -> Any:
    """A group of options with its defaults; None for a group that needs a value."""
    try:
        return kind()
    except BadInput:
        return None
