"""Configs of older versions: old names of options, and options that older runs lack."""

from __future__ import annotations

import re
from typing import Any

from mpifl.config.toml_text import toml
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
    "runtime.lanes": 1,
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


def parse(text: str, where: str) -> dict:
    """TOML text as a dict, with today's names of options.

    Raises BadInput that begins with `where`.
    """
    return renamed(toml(text, where))


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
