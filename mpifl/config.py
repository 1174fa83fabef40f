"""Configs: TOML with `extends` and dotted overrides -> checked dataclasses, and back to text that
shows every default.

What the sections are is not known here: `build` passes the classes, and tables of the names each
named section allows.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import tomli_w

from mpifl.options import BadInput, instance, refuse_others_options, refuse_unknown, suggestion

Tables = dict[str, dict[str, type]]
"""dotted path of a named section -> the classes that its `name` may choose"""

_MOST_BYTES = 1 << 20
# two thirds of the time that checking a config takes, of which a sweep has thousands
_types = cache(get_type_hints)
_DEEPEST = 20


def read(path: Path) -> dict:
    """The raw config at `path`, over what it extends (later keys win); raises BadInput."""
    return _read(path, ())


def _read(path: Path, through: tuple[Path, ...]) -> dict:
    path = Path(path)
    if path.resolve() in through:
        raise BadInput(f"{path}: expected a chain of `extends` that ends; got a circle")
    try:
        raw = parse(_content(path).decode("utf-8-sig"), str(path))
    except OSError as error:
        raise BadInput(f"{path}: expected a config file; got {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: expected TOML text in UTF-8; got other bytes") from None
    base = raw.pop("extends", None)
    if base is None:
        return raw
    if not isinstance(base, str):
        raise BadInput(f"{path}: extends: expected a path in quotes; got {base!r}")
    if "\0" in base or len(through) > _DEEPEST:
        raise BadInput(
            f"{path}: extends: expected a path, and at most {_DEEPEST} configs in a chain; got {base!r}"
        )
    return merge(_read(path.parent / base, (*through, path.resolve())), raw)


def _content(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BadInput(f"{path}: expected a config of {_MOST_BYTES} bytes at most; got more")
    return content


def parse(text: str, where: str) -> dict:
    """TOML text as a dict; a mistake becomes one line that names `where` and the place in it."""
    try:
        return _measured(_toml(text), where)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{where}: expected TOML; got: {error}") from None


def _toml(text: str) -> dict:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except (ValueError, RecursionError):  # what tomllib leaves to Python's own limits
        raise tomllib.TOMLDecodeError(
            "a number of thousands of digits, or thousands of brackets"
        ) from None


def _measured(raw: dict, where: str) -> dict:
    """`raw`, if its integers have 64 bits, as TOML's have, and its tables and lists are no deeper
    than options are.
    """
    found = [("", raw)]
    for _ in range(_DEEPEST + 1):
        if not found:
            return raw
        for key, value in found:
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise BadInput(
                    f"{where}: {key[1:]}: expected an integer of 64 bits; got a longer one"
                )
        found = [(f"{key}.{name}", item) for key, value in found for name, item in _items(value)]
    raise BadInput(
        f"{where}: {found[0][0][1:]}: expected tables and lists {_DEEPEST} deep at most; got deeper ones"
    )


def _items(value: Any) -> Iterable[tuple[object, Any]]:
    return (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )


def merge(base: dict, over: dict) -> dict:
    """`over` laid over `base`, table by table; a named section that changes its name starts afresh."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        old = {"name": old} if isinstance(old, str) and isinstance(value, dict) else old
        if (
            isinstance(old, dict)
            and isinstance(value, dict)
            and value.get("name", old.get("name")) == old.get("name")
        ):
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
    return merge(raw, _measured(given, "command line"))


def _value(text: str) -> Any:
    try:
        return _toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _assign(table: dict, keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        if not isinstance(table.get(key), dict):  # `model=cnn` is short for `model.name=cnn`
            table[key] = {"name": table[key]} if key in table else {}
        table = table[key]
    old = table.get(keys[-1])
    table[keys[-1]] = (
        {**old, "name": value} if isinstance(value, str) and isinstance(old, dict) else value
    )


def build(kind: type, raw: Any, tables: Tables, where: str = "") -> Any:
    """An instance of the dataclass `kind` from the table `raw`; raises BadInput at the first
    mistake.
    """
    if not isinstance(raw, dict):
        raise BadInput(f"{where}: expected a table of options; got {raw!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    types = _types(kind)
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
        raise BadInput(
            f"{where}: expected a name, or a table with a name; got {raw!r}; allowed: {', '.join(table)}"
        )
    rest = {key: value for key, value in raw.items() if key != "name"}
    if not isinstance(raw["name"], str) or raw["name"] not in table:
        raise BadInput(
            f"{where}.name: unknown name {raw['name']!r}{suggestion(raw['name'], table)}"
        )
    options = {
        name: [field.name for field in dataclasses.fields(kind)] for name, kind in table.items()
    }
    refuse_others_options(raw["name"], rest, options, where)
    return build(table[raw["name"]], rest, tables, where)


def text(config: Any, tables: Tables) -> str:
    """`config` as TOML in which every option stands, defaults included; `build` of it gives
    `config` again.
    """
    return tomli_w.dumps(_plain(config, tables, ""))


def flat(table: dict, prefix: str = "") -> dict[str, Any]:
    """The options of a table and of the tables in it, by dotted name.

    >>> flat({"rounds": 3, "local": {"lr": 0.1}})
    {'rounds': 3, 'local.lr': 0.1}
    """
    options = {}
    for key, value in table.items():
        options |= (
            flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        )
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
