"""Raw configs: TOML files with `extends`, dotted overrides, and old names of options -> one dict.

Nothing here knows which options there are; `runner/schema.py` does.
"""

from __future__ import annotations

import io
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mpifl import regular
from mpifl.options import BadInput

RENAMED = {"algorithm.server_step": "algorithm.server_optimizer"}
"""Old dotted name of an option or table -> its name today, in the same table.

Configs and runs that have the old name stay valid.
"""

RENAMED_VALUES = {"evaluation.where": {"shared": "all"}}
"""Dotted name of an option -> old values -> their names today. Old ones stay valid."""

ADDED = {
    "callbacks": [],
    "algorithm.controls": "a_c",
    "algorithm.quadratic": True,
    "algorithm.server_optimizer.start": "tau2",
    "algorithm.stale_ascent": False,
    "algorithm.strength": 1.0,
    "data.augment.area": 1.0,
    "data.augment.aspect": 4 / 3,
    "data.augment.size": 0,
    "init": "",
    "init_head": "keep",
    "model.lora.alpha": 0.0,
    "model.lora.freeze_a": False,
    "model.lora.head": False,
    "model.lora.layers": ["*"],
    "model.lora.rank": 0,
    "model.trainable": "all",
    "local.optimizer.name": "sgd",
    "evaluation.average.name": "none",
    "evaluation.train_every": 0,
    "evaluation.train_samples": 0,
    "heterogeneity.availability.name": "always",
    "heterogeneity.epochs": [],
    "heterogeneity.late": "keep",
    "heterogeneity.speed": 0.0,
    "heterogeneity.stragglers": 0.0,
    "holdout.clients": 0.0,
    "holdout.domains": [],
    "holdout.ratio": 0,
    "holdout.unseen": "all",
    "partition.deal": "turn",
    "participation.draw": "sample",
    "plugins": [],
    "precision": "float32",
    "runtime.graphs": "auto",
}
"""Dotted name of an option that older runs lack -> the value that means what those did.

Such runs can be resumed with that value. `added` has them for a run.
"""

MOST_PERMUTED = 10_000
"""Up to so many clients, `participation.draw` makes no difference: cohorts are those of runs that
lack the option.
"""

LOSS_OPTIONS_ADDED = {"moon": "first='none'"}
"""The same of the options of losses, which runs store as text with all of them."""

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)
_UNSET = "the default"
_MOST_BYTES = 1 << 16
"""of a config: tables in tables take time in proportion to the square of their size"""
_MOST_DOTS = 100
_WORD = r"""[\w"'-]+"""
_LONG_KEY = re.compile(rf"(?<![\w\"'.-]){_WORD}(?:[ \t]*\.[ \t]*{_WORD}){{{_MOST_DOTS}}}")
_DEEPEST = 20


def read(path: Path) -> dict:
    """The raw config at `path`, laid over what it extends. Raises BadInput."""
    return _read(path, ())


def _read(path: Path, through: tuple[Path, ...]) -> dict:
    """`through`: the files that led here by `extends`."""
    path = Path(path)
    text = _text(path)
    if path.resolve() in through:
        raise BadInput(f"{path}: expected a chain of `extends` that ends; got a circle")
    raw = parse(text, str(path))
    if isinstance(raw.get("plugins"), list):
        raw["plugins"] = anchored(raw["plugins"], path)
    base = raw.pop("extends", None)
    if base is None:
        return raw
    if not isinstance(base, str):
        raise BadInput(f"{path}: extends: expected a path in quotes; got {base!r}")
    if "\0" in base or len(through) > _DEEPEST:
        raise BadInput(
            f"{path}: extends: expected a path, and at most {_DEEPEST} configs in a chain; "
            f"got {base!r}"
        )
    base_path = path.parent / expanded(base, f"{path}: extends")
    return lay_over(_read(base_path, (*through, path.resolve())), raw)


def anchored(plugins: list, config: Path) -> list:
    """The plugins that a config at `config` names: its files relative to the config's folder."""
    found = []
    for entry in plugins:
        if isinstance(entry, str) and is_file(entry):
            entry = str(config.parent / expanded(entry, f"{config}: plugins"))
        found.append(entry)
    return found


def is_file(plugin: str) -> bool:
    """Whether an entry of `plugins` is a file, not a module.

    >>> is_file("mine.py"), is_file("../mine"), is_file("some.module")
    (True, True, False)
    """
    return plugin.endswith(".py") or "/" in plugin


def expanded(text: str, where: str) -> Path:
    """A path that a config names, with `~` and $VARIABLES of this process's environment replaced.

    Raises BadInput that begins with `where` for a variable that is not set, or empty.
    """
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        if not os.environ.get(name):
            raise BadInput(
                f"{where}: expected variables that are set; got {text!r}, without {name}"
            )
    return Path(os.path.expanduser(os.path.expandvars(text)))


def _text(path: Path) -> str:
    try:
        with io.BufferedReader(regular.opened(path)) as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path}: expected a config file; got {error.strerror or error}") from None
    _check_length(content, str(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path}: expected TOML text in UTF-8; got other bytes") from None


def _check_length(content: bytes | str, where: str) -> None:
    if len(content) > _MOST_BYTES:
        raise BadInput(f"{where}: expected a config of {_MOST_BYTES} bytes at most; got more")


def parse(text: str, where: str) -> dict:
    """TOML text as a dict, with today's names of options.

    Raises BadInput that begins with `where`.
    """
    return renamed(toml(text, where))


def toml(text: str, where: str) -> dict:
    """TOML text as a dict, with the names of options that it has.

    Raises BadInput that begins with `where`, also for what would take long to read.
    """
    _check_length(text, where)
    try:
        raw = _toml(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{where}: expected TOML; got: {error}") from None
    _check_size(raw, where)
    return raw


def _toml(text: str) -> dict:
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


def _check_size(raw: dict, where: str) -> None:
    """Refuse integers beyond TOML's 64 bits, and tables and lists that are nested too deep."""
    level = [("", raw)]
    for _ in range(_DEEPEST + 1):
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
        f"{where}: {level[0][0][1:]}: expected tables and lists {_DEEPEST} deep at most; "
        "got deeper ones"
    )


def _items(value: Any) -> Iterable[tuple[object, Any]]:
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list):
        return enumerate(value)
    return ()


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
    _check_size(given, "command line")
    return lay_over(raw, renamed(given))


def _value(text: str) -> Any:
    try:
        return _toml(f"value = {text}")["value"]
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


# --- old names of options -----------------------------------------------------------------------


def renamed(raw: dict) -> dict:
    """`raw` with today's names for old ones. Raises BadInput where an option has both.

    >>> renamed({"algorithm": {"name": "fedavg", "server_step": "adam"}})
    {'algorithm': {'name': 'fedavg', 'server_optimizer': 'adam'}}
    """
    for old, new in RENAMED.items():
        raw = _renamed(raw, old.split("."), new)
    for path, values in RENAMED_VALUES.items():
        raw = _with_value_renamed(raw, path.split("."), values)
    return raw


def _with_value_renamed(table: dict, path: list[str], values: dict[str, str]) -> dict:
    first, *rest = path
    value = table.get(first)
    if rest and isinstance(value, dict):
        return {**table, first: _with_value_renamed(value, rest, values)}
    if not rest and isinstance(value, str) and value in values:
        return {**table, first: values[value]}
    return table


def _renamed(table: dict, old: list[str], new: str) -> dict:
    first, *rest = old
    if first not in table:
        return table
    if rest:
        inside = table[first]
        if not isinstance(inside, dict):
            return table
        return {**table, first: _renamed(inside, rest, new)}
    name = new.rpartition(".")[2]
    if name in table:
        raise BadInput(f"{new}: expected it once; got it twice, also by its old name {first}")
    renamed = {}
    for key, value in table.items():
        renamed[name if key == first else key] = value
    return renamed


def name_today(path: str) -> str:
    """The name of an option today, from its dotted name of any version.

    >>> name_today("algorithm.server_step.lr")
    'algorithm.server_optimizer.lr'
    """
    for old, new in RENAMED.items():
        path = _replaced(path, old, new)
    return path


def first_name(path: str) -> str:
    """The name that an option had in the first version, from its dotted name of any version.

    >>> first_name("algorithm.server_optimizer.lr")
    'algorithm.server_step.lr'
    """
    for old, new in reversed(RENAMED.items()):
        path = _replaced(path, new, old)
    return path


def added(clients: object) -> dict[str, Any]:
    """ADDED as it holds for a run of so many clients (0 or no number: as for few).

    >>> added(100)["participation.draw"], added(1_000_000)["participation.draw"]
    ('sample', 'permutation')
    """
    if isinstance(clients, int) and clients > MOST_PERMUTED:
        return ADDED | {"participation.draw": "permutation"}
    return ADDED


def of_run(text: str, where: str) -> dict:
    """The raw config that a run has stored as TOML `text`, as today's config of what it did.

    Raises BadInput that begins with `where`.
    """
    raw = parse(text, where)
    participation = raw.get("participation")
    if isinstance(participation, dict):
        drawn = added(raw.get("clients"))["participation.draw"]
        raw["participation"] = {"draw": drawn, **participation}
    local = raw.get("local")
    if isinstance(local, dict) and isinstance(local.get("loss"), str):
        raw["local"] = {**local, "loss": loss_today(local["loss"])}
    return raw


def loss_today(text: str) -> str:
    """The loss that a run has stored, with the options that older runs lack.

    >>> loss_today("ce(smoothing=0.0) + moon(mu=1.0, tau=0.5)")
    "ce(smoothing=0.0) + moon(mu=1.0, tau=0.5, first='none')"
    """
    for name, option in LOSS_OPTIONS_ADDED.items():
        added = option.partition("=")[0]
        lacking = rf"\b{name}\((?![^()]*\b{added}=)([^()]+)\)"
        text = re.sub(lacking, rf"{name}(\1, {option})", text)
    return text


def first_loss(text: str) -> str:
    """The text that an older run has for a loss of today, if that is one which there was.

    >>> first_loss("ce(smoothing=0.0) + moon(mu=1.0, tau=0.5, first='none')")
    'ce(smoothing=0.0) + moon(mu=1.0, tau=0.5)'
    """
    for option in LOSS_OPTIONS_ADDED.values():
        text = text.replace(f", {option}", "")
    return text


def _replaced(path: str, old: str, new: str) -> str:
    """`path` with its beginning `old` replaced, if it is `old` or in the table `old`."""
    if path == old or path.startswith(f"{old}."):
        return new + path.removeprefix(old)
    return path
