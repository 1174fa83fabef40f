"""Runs opened together, and grouped where they differ only in their seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpifl.analysis.runs.labels import Options, distinct, label
from mpifl.analysis.runs.left_out import name_of
from mpifl.config import added, loss_today, name_today, toml
from mpifl.options import BadInput, suggestion
from mpifl.store import Run
from mpifl.terminal import printable

_NO_METHOD = (
    "seed",
    "name",
    "published",
    "callbacks",
    "runtime",
    "results",
    "evaluation",
    "data.path",
    "data.name",
)
"""options that do not change how a model is trained: they do not tell groups apart"""


_LEFT_OUT = "holdout.domains"


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of one method, which differ in their seeds, and perhaps in the domains left out."""

    label: str
    """what sets it apart from the other groups, in a few words"""
    runs: list[Run]

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The domains that runs leave out, each once; empty where none does."""
        return tuple(dict.fromkeys(name_of(run) for run in self.runs if run.left_out))

    @property
    def options(self) -> Options:
        """The first run's options, which all runs share except for the seed."""
        return options(self.runs[0])


def open_runs(paths: Iterable[str | Path]) -> list[Run]:
    """The runs at `paths`: folders, results.h5 or packed files.

    Raises BadInput for none, for one that cannot be read, for the same run twice, and for runs on
    different data.
    """
    if isinstance(paths, str | Path) or not isinstance(paths, Iterable):
        raise BadInput(f"runs: expected a list of paths; got {paths!r}")
    runs = [Run.open(path) for path in paths]
    if not runs:
        expected = "at least one run's folder, results.h5 or packed file"
        raise BadInput(f"runs: expected {expected}; got none")
    seen: dict[str, Run] = {}
    for run in runs:
        if run.run_id in seen:
            both = f"{seen[run.run_id].path}, {run.path}"
            raise BadInput(f"runs: expected each run once; got run {run.run_id} as {both}")
        seen[run.run_id] = run
        if data_of(run) != data_of(runs[0]):
            both = f"{_describe_data(runs[0])} and {_describe_data(run)}"
            todo = "look at them one data set at a time"
            raise BadInput(f"runs: expected runs on the same data; got {both}; {todo}")
    return runs


def _describe_data(run: Run) -> str:
    return f"{run.provenance.get('data_source', 'unknown data')} ({run.path})"


def data_of(run: Run) -> object:
    """What identifies the data of a run: equal for runs on the same data.

    It is the checksum. Where a limit draws samples by the seed, it is the whole data set's name
    and the limits.
    """
    known = options(run)
    limits = known.get("data.train_limit", 0), known.get("data.test_limit", 0)
    if any(limits):
        source = str(run.provenance.get("data_source", ""))
        return source.split("; limited to")[0], limits
    return run.provenance.get("data_checksum", "")


def options(run: Run) -> Options:
    """The options in the run's config, by dotted key. Raises BadInput."""
    return dict(_flattened("", toml(run.config, str(run.path))))


def _flattened(where: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flattened(f"{where}.{key}" if where else key, below)
    else:
        yield name_today(where), tuple(value) if isinstance(value, list) else value


def group(
    runs: Sequence[Run],
    by: Sequence[str] = (),
    labels: Sequence[str] = (),
    over_domains: bool = False,
) -> list[Group]:
    """`runs` as groups, in the order of their first runs: one where all options but the seed agree.

    With `by`, only these options tell groups apart. With `over_domains`, the domains that are left
    out do not. `labels` replace the labels made from what differs. Raises BadInput for an option
    that no run has, for the same method and seed twice, and where there is another number of labels
    than of groups.
    """
    members: dict[frozenset, list[Run]] = {}
    methods: list[Options] = []
    for run in runs:
        method = _method(run, by)
        if over_domains and run.left_out and not by:
            method.pop(_LEFT_OUT, None)
        key = frozenset((name, repr(value)) for name, value in method.items())
        if key not in members:
            members[key] = []
            methods.append(method)
        members[key].append(run)
    if not by:
        for group in members.values():
            _refuse_repetition(group)
    names = [_name(group) for group in members.values()]
    if not labels:
        labels = distinct(_labels(methods, names), names)
    if len(labels) != len(members):
        expected = f"{len(members)}, one for each group of runs"
        raise BadInput(f"label: expected {expected}; got {len(labels)}")
    groups = []
    for text, group in zip(labels, members.values(), strict=True):
        groups.append(Group(printable(text, kept=""), group))
    return groups


def _labels(methods: Sequence[Options], names: list[str]) -> list[str]:
    """What sets each method apart; a single method has its config's name."""
    if len(methods) == 1:
        return names
    return [label(method, methods) for method in methods]


def _method(run: Run, by: Sequence[str]) -> Options:
    """The options that tell groups apart."""
    known = options(run)
    for name, value in added(
        known.get("clients")
    ).items():  # runs of before an option was added had its default
        known.setdefault(name, tuple(value) if isinstance(value, list) else value)
    if "local.loss" in known:
        known["local.loss"] = loss_today(str(known["local.loss"]))
    for key in by:
        if key not in known:
            raise BadInput(f"by: {key}: unknown option in {run.path}{suggestion(key, known)}")
    if known.get("plugins"):
        known["plugins"] = _short_plugins(known["plugins"])
    if by:
        method = {key: known[key] for key in by}
    else:
        method = {key: value for key, value in known.items() if not is_no_method(key)}
    if run.resumed_otherwise:  # no repeat of a run that was never stopped
        method["resumed"] = run.resumed_otherwise
    if _has_schedules_of_0_1(run):
        method["schedules"] = "of mpifl 0.1"
    return method


def _short_plugins(names: Iterable[object]) -> tuple[str, ...]:
    """Plugins as their names with the beginning of their digests, in alphabetical order."""
    short = []
    for name in names:
        stem, _, digest = str(name).rpartition("@")
        short.append(f"{stem}@{digest[:8]}")
    return tuple(sorted(short))


def _has_schedules_of_0_1(run: Run) -> bool:
    """Whether version 0.1 trained rounds of a run whose schedules have other factors today."""
    is_scheduled = "cosine" in run.config or "milestones" in run.config
    if not is_scheduled or not run.version_of(1).startswith("0.1."):
        return False
    from mpifl.runner import resuming, schema  # bring torch, which takes seconds

    try:
        config = schema.resolve(toml(run.config, str(run.path)))
    except BadInput:  # such as an algorithm of the user's own: the schedules cannot be compared
        return True
    return resuming.schedules_of_0_1(run, config)


def is_no_method(key: str) -> bool:
    """Whether an option does not change how a model is trained."""
    return any(key == other or key.startswith(f"{other}.") for other in _NO_METHOD)


def _refuse_repetition(runs: Sequence[Run]) -> None:
    """Raise BadInput where two runs of a group have the same seed."""
    seeds: dict[tuple[int, str], Run] = {}
    for run in runs:
        key = (run.seed, name_of(run))
        if key in seeds:
            raise BadInput(
                f"runs: expected each method and seed once; got {seeds[key].path} and "
                f"{run.path}, both have seed {run.seed} and the same training options; "
                "leave one out"
            )
        seeds[key] = run


def _name(runs: Sequence[Run]) -> str:
    """The name of a group's first run; of runs that leave different domains out, the algorithm."""
    first = options(runs[0])
    if len({name_of(run) for run in runs}) > 1:
        return str(first.get("algorithm.name", first.get("name", "")))
    return str(first.get("name", runs[0].path.name))
