"""Configs: TOML with `extends` and dotted overrides -> checked dataclasses, and back to text that shows every default.

What the sections are is not known here: `build` passes the classes, and tables of the names each named section allows.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_type_hints

import tomli_w

from mpifl.settings import BadInput, instance, refuse_unknown, suggestion

Tables = dict[str, dict[str, type]]
"""dotted path of a named section -> the classes that its `name` may choose"""


def read(path: Path) -> dict:
    """The raw config at `path`, over what it extends (later keys win); raises BadInput."""
    return _read(path, ())


def _read(path: Path, through: tuple[Path, ...]) -> dict:
    path = Path(path)
    if path.resolve() in through:
        raise BadInput(f"{path}: expected a chain of `extends` that ends; got a circle")
    try:
        raw = parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise BadInput(f"{path}: expected a config file; got {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: expected TOML text in UTF-8; got other bytes") from None
    base = raw.pop("extends", None)
    if base is None:
        return raw
    if not isinstance(base, str):
        raise BadInput(f"{path}: extends: expected a path in quotes; got {base!r}")
    return merge(_read(path.parent / base, (*through, path.resolve())), raw)


def parse(text: str, where: str) -> dict:
    """TOML text as a dict; a mistake becomes one line that names `where` and the place in it."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{where}: expected TOML; got: {error}") from None


def merge(base: dict, over: dict) -> dict:
    """`over` laid over `base`, table by table; a named section that changes its name starts afresh."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        old = {"name": old} if isinstance(old, str) and isinstance(value, dict) else old
        if isinstance(old, dict) and isinstance(value, dict) and value.get("name", old.get("name")) == old.get("name"):
            value = merge(old, value)
        result[key] = value
    return result


def override(raw: dict, assignments: Iterable[str]) -> dict:
    """`raw` with `key.path=value` assignments applied; a value is TOML, or else plain text.

    >>> override({"local": {"lr": 0.1}}, ["local.lr=0.5", "model=resnet56", "model.norm=group"])
    {'local': {'lr': 0.5}, 'model': {'name': 'resnet56', 'norm': 'group'}}
    """
    given: dict = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise BadInput(f"command line: expected key.path=value; got {assignment!r}")
        _assign(given, keys, _value(text))
    return merge(raw, given)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _assign(table: dict, keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        if not isinstance(table.get(key), dict):  # `model=cnn` is short for `model.name=cnn`
            table[key] = {"name": table[key]} if key in table else {}
        table = table[key]
    table[keys[-1]] = value


def build(kind: type, raw: Any, tables: Tables, where: str = "") -> Any:
    """An instance of the dataclass `kind` from the table `raw`; raises BadInput at the first mistake."""
    if not isinstance(raw, dict):
        raise BadInput(f"{where}: expected a table of options; got {raw!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    types = get_type_hints(kind)
    values = {}
    refuse_unknown(raw, fields, where)
    for key, value in raw.items():
        at = f"{where}.{key}" if where else key
        if at in tables:
            if isinstance(value, dict) and "name" not in value:
                value = {"name": _name(fields[key].default, tables[at]), **value}
            values[key] = _named(tables[at], value, tables, at)
        elif dataclasses.is_dataclass(types[key]):
            values[key] = build(types[key], value, tables, at)
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    return instance(kind, values, where)


def _name(instance: Any, table: dict[str, type]) -> str:
    """The name that `table` has for the class of `instance`."""
    return next(name for name, kind in table.items() if type(instance) is kind)


def _named(table: dict[str, type], raw: Any, tables: Tables, where: str) -> Any:
    raw = {"name": raw} if isinstance(raw, str) else raw
    if not isinstance(raw, dict) or "name" not in raw:
        raise BadInput(f"{where}: expected a name, or a table with a name; got {raw!r}; allowed: {', '.join(table)}")
    rest = {key: value for key, value in raw.items() if key != "name"}
    if not isinstance(raw["name"], str) or raw["name"] not in table:
        raise BadInput(f"{where}.name: unknown name {raw['name']!r}{suggestion(raw['name'], table)}")
    return build(table[raw["name"]], rest, tables, where)


def text(config: Any, tables: Tables) -> str:
    """`config` as TOML in which every option stands, defaults included; `build` of it gives `config` again."""
    return tomli_w.dumps(_plain(config, tables, ""))


def flat(table: dict, prefix: str = "") -> dict[str, Any]:
    """The options of a table and of the tables in it, by dotted name.

    >>> flat({"rounds": 3, "local": {"lr": 0.1}})
    {'rounds': 3, 'local.lr': 0.1}
    """
    options = {}
    for key, value in table.items():
        options |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return options


def _plain(value: Any, tables: Tables, where: str) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(v, tables, where) for v in value]
    if not dataclasses.is_dataclass(value):
        return value
    result = {}
    if where in tables:
        result["name"] = _name(value, tables[where])
    for field in dataclasses.fields(value):
        at = f"{where}.{field.name}" if where else field.name
        result[field.name] = _plain(getattr(value, field.name), tables, at)
    return result
