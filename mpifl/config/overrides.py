"""Raw configs laid over each other: dotted overrides, and what `extends` names."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from mpifl.config.older_versions import renamed
from mpifl.config.toml_text import check_size, loaded
from mpifl.options import BadInput

_UNSET = "the default"


def merge(base: dict, over: dict) -> dict:
    """`over` laid over `base`, table by table. A section that changes its name starts afresh."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, str) and isinstance(value, dict):
            old = {"name": old}
        if isinstance(old, dict) and isinstance(value, dict) and _same_name(old, value):
            value = merge(old, value)
        result[key] = value
    return result


def lay_over(base: dict, over: dict) -> dict:
    """`base` and `over` merged, for `extends` and overrides.

    Where `base` quotes published numbers and `over` has none of its own, the published experiment
    is `base`: `published.overridden` then keeps its values of the options that `over` changes.

    >>> paper = {"rounds": 500, "published": {"top1_acc": 49.9}}
    >>> lay_over(paper, {"rounds": 3})
    {'rounds': 3, 'published': {'top1_acc': 49.9, 'overridden': {'rounds': 500}}}
    """
    merged = merge(base, over)
    if not quotes_numbers(base) or not isinstance(merged["published"], dict):
        return merged
    published = dict(merged["published"])
    overridden = published.pop("overridden", {})
    if quotes_numbers(over):
        return {**merged, "published": published}
    overridden = _overridden(flat(base), flat(over), overridden)
    if overridden:
        published["overridden"] = overridden
    return {**merged, "published": published}


def quotes_numbers(raw: dict) -> bool:
    """Whether a raw config has published numbers to compare with."""
    published = raw.get("published")
    if not isinstance(published, dict):
        return False
    for name, value in flat(published).items():
        if isinstance(value, int | float) and not name.startswith("overridden."):
            return True
    return False


def _overridden(before: dict[str, Any], over: dict[str, Any], known: dict) -> dict[str, Any]:
    """The published experiment's values of the options that differ from it, by dotted name.

    `known`: those that differed before.
    """
    overridden = dict(known)
    for option, value in over.items():
        if option.startswith("published"):
            continue
        if f"{option}.name" in before:  # `model=mlp` is short for `model.name=mlp`
            option = f"{option}.name"
        was = before.get(option, before.get(option.removesuffix(".name"), _UNSET))
        was = overridden.pop(option, was)
        if value != was:
            overridden[option] = was
    return overridden


def _same_name(base: dict, over: dict) -> bool:
    return "name" not in over or over["name"] == base.get("name")


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
    check_size(given, "command line")
    return lay_over(raw, renamed(given))


def _value(text: str) -> Any:
    try:
        return loaded(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _assign(table: dict, keys: list[str], value: Any) -> None:
    *sections, last = keys
    for section in sections:
        if section not in table:
            table[section] = {}
        elif not isinstance(table[section], dict):  # `model=cnn` is short for `model.name=cnn`
            table[section] = {"name": table[section]}
        table = table[section]
    if isinstance(value, str) and isinstance(table.get(last), dict):
        table[last]["name"] = value
    else:
        table[last] = value


def flat(table: dict, prefix: str = "") -> dict[str, Any]:
    """The options of a table and of the tables in it, by dotted name.

    >>> flat({"rounds": 3, "local": {"lr": 0.1}})
    {'rounds': 3, 'local.lr': 0.1}
    """
    options = {}
    for key, value in table.items():
        if isinstance(value, dict):
            options.update(flat(value, f"{prefix}{key}."))
        else:
            options[f"{prefix}{key}"] = value
    return options
