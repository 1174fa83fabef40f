"""What was run, and in which options the runs differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpifl.analysis.report import blocks
from mpifl.analysis.report.blocks import NOTHING, Section
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.runs.groups import Group, is_no_method, options
from mpifl.analysis.runs.labels import Options
from mpifl.config import ADDED
from mpifl.store import Run
from mpifl.terminal import percent, plural

_MOST_ACROSS = 6
"""methods that are columns of a table of options; more are rows"""
_NEVER = ("seed", "name")
"""options that the table of runs shows"""


def summary(compared: Compared) -> str:
    """One line: how many runs of what."""
    run = compared.runs[0]
    methods = plural(len(compared.groups), "method")
    source = str(run.provenance.get("data_source", "unknown data"))
    return f"{plural(len(compared.runs), 'run')} of {methods} on {source}"


def overview(compared: Compared) -> Section:
    """Facts that all runs share, the runs, and the table of options."""
    section = Section("runs", "What was run")
    section.parts.append(blocks.facts(_shared_facts(compared)))
    section.parts.append(
        blocks.table(
            ("method", "seed", "status", "rounds", "final accuracy", "best", "at round", "folder"),
            [_row(group, run) for group in compared.groups for run in group.runs],
            "The runs: how far each is, and how well its last model and its best one did on the "
            "test set.",
        )
    )
    section.parts.extend(_differences(compared.groups))
    return section


def _shared_facts(compared: Compared) -> list[tuple[str, str]]:
    """What the runs have in common, or its range over them."""
    runs = compared.runs
    return [
        ("data", str(runs[0].provenance.get("data_source", "unknown"))),
        ("training samples", _range([len(run.indices) for run in runs])),
        ("classes", _range([run.label_counts.shape[1] for run in runs])),
        ("clients that train", _range([int(run.trains.sum()) for run in runs])),
        ("clients that never train", _range([int((~run.trains).sum()) for run in runs])),
        ("parameters", _range([_parameters(run) for run in runs])),
        ("rounds", _range([len(run.rounds["round"]) for run in runs])),
    ]


def _parameters(run: Run) -> int:
    return sum(entry.size for entry in run.layout if entry.kind in ("parameter", "frozen"))


def _range(counts: Sequence[int]) -> str:
    low = min(counts)
    high = max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _row(group: Group, run: Run) -> list[str]:
    accuracy = run.rounds.get("test_accuracy", np.zeros(0))
    known = np.flatnonzero(np.isfinite(accuracy))
    last = NOTHING
    best = NOTHING
    at = NOTHING
    if len(known):
        place = known[accuracy[known].argmax()]
        last = percent(accuracy[known[-1]])
        best = percent(accuracy[place])
        at = str(run.rounds["round"][place])
    planned = options(run).get("rounds", "?")
    rounds = f"{len(run.rounds['round'])} of {planned}"
    return [group.label, str(run.seed), run.status, rounds, last, best, at, str(run.path)]


def _differences(groups: Sequence[Group]) -> list[str]:
    """The options in which methods differ; folded away, those that do not change training."""
    known = [_with_defaults(group.options) for group in groups]
    keys = dict.fromkeys(key for method in known for key in method if key not in _NEVER)
    differing = []
    for key in keys:
        if len({repr(method.get(key, NOTHING)) for method in known}) > 1:
            differing.append(key)
    of_method = [key for key in differing if not is_no_method(key)]
    others = [key for key in differing if is_no_method(key)]
    parts = []
    if of_method:
        caption = "The options in which the methods differ; all others are the same."
        parts.append(_options_table(groups, known, of_method, caption))
    elif len(groups) > 1:
        parts.append(blocks.paragraph("The methods differ in no option of the config."))
    if others:
        caption = "Options in which runs differ and that do not change how a model is trained."
        table = _options_table(groups, known, others, caption)
        parts.append(blocks.folded("Other options that differ", table))
    return parts


def _with_defaults(method: Options) -> Options:
    """The options, with those that were added since the run had their default."""
    return {**ADDED, **method}


def _options_table(
    groups: Sequence[Group], known: Sequence[Options], keys: Sequence[str], caption: str
) -> str:
    """Options down and methods across, or the other way where there are many methods."""
    if len(groups) <= _MOST_ACROSS:
        heads = ["option", *(group.label for group in groups)]
        rows = [[key, *(_value(method, key) for method in known)] for key in keys]
    else:
        heads = ["method", *keys]
        rows = []
        for group, method in zip(groups, known, strict=True):
            rows.append([group.label, *(_value(method, key) for key in keys)])
    return blocks.words_table(heads, rows, caption)


def _value(method: Options, key: str) -> str:
    """An option as a config has it; a dash where the method does not have it."""
    if key not in method:
        return NOTHING
    value = method[key]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value) or "none"
    return str(value) if value != "" else "none"
