"""What differs from the defaults in a stored config, by a list of them: quick, without torch.

`known_defaults.json` has the defaults of every section. `python -m mpifl.runner.known_defaults`
writes it anew after an option or a default has changed. What is not in the list is not known here;
then `differences`, which imports torch, has the answer.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("known_defaults.json")
PARTS = ("partition", "model", "algorithm")
"""sections whose names are always said"""
_LOSS = "local.loss"

Table = dict[str, Any]


class Unknown(Exception):
    """A config with something that the list of defaults does not have."""


def short(stored: Table) -> Table:
    """What `differences.short` makes of a stored config, in which each section has its name.

    A section whose name a plugin has registered keeps all its options. Raises Unknown for a config
    with options or names that are not in the list, for any other reason.
    """
    defaults = _known()["config"]
    found = _differing(stored, defaults, "", bool(stored.get("plugins")))
    data = {**defaults["data"], **stored.get("data", {})}
    named = {} if data["path"] else {"name": data["name"]}  # a packed file has its own
    table: Table = {"data": named}
    for part in PARTS:
        table[part] = {"name": stored.get(part, {}).get("name", defaults[part]["name"])}
    for section, options in found.items():
        if isinstance(options, dict):
            table[section] = {**table.get(section, {}), **options}
        else:
            table[section] = options
    return table


def listed() -> Table:
    """The list, made from the options: the config's defaults, and those of each name."""
    from mpifl.options import BadInput, adapter
    from mpifl.runner import schema

    sections: Table = {}
    for path, kinds in schema.TABLES.items():
        sections[path] = {}
        for name, kind in kinds.items():
            try:
                options = adapter(kind).dump_python(kind())
            except BadInput:  # it needs a value
                continue
            sections[path][name] = {"name": name, **options}
    config = adapter(schema.Config).dump_python(schema.Config())
    whole = tomllib.loads(schema.text(schema.Config()))
    losses = [config["local"]["loss"], whole["local"]["loss"]]
    return {"config": config, "sections": sections, "losses": losses}


@cache
def _known() -> Mapping[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def _differing(group: Table, defaults: Table, path: str, plugins: bool) -> Table:
    """What differs in a group of options from its defaults. Raises Unknown.

    `plugins` says whether names may be a plugin's.
    """
    if not group.keys() <= defaults.keys():
        raise Unknown(path)
    found: Table = {}
    for name, default in defaults.items():
        if name not in group:
            continue
        inner = f"{path}.{name}" if path else name
        now = group[name]
        if isinstance(default, dict) and default:
            differing = _differing_section(now, default, inner, plugins)
            if differing:
                found[name] = differing
        elif not _is_default(now, default, inner):
            found[name] = tuple(now) if isinstance(now, list) else now
    return found


def _differing_section(section: Any, default: Table, path: str, plugins: bool) -> Table:
    """The same of a section, which may have a name: then with the defaults of that name."""
    if not isinstance(section, dict):
        raise Unknown(path)
    of_names = _known()["sections"].get(path)
    if of_names is None:
        return _differing(section, default, path, plugins)
    name = section.get("name")
    if name == default["name"]:
        return _differing(section, default, path, plugins)
    if name in of_names:
        return {"name": name, **_differing(section, of_names[name], path, plugins)}
    if plugins:
        return section
    raise Unknown(path)


def _is_default(now: Any, default: Any, path: str) -> bool:
    if path == _LOSS:
        return now in _known()["losses"]
    return now == default


if __name__ == "__main__":
    FILE.write_text(json.dumps(listed(), indent=1) + "\n", encoding="utf-8")
