"""Several runs read together: checked to share their data, and put together where only their seeds
differ.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpifl.analysis.runs.labels import Options, distinct, label
from mpifl.config import name_today
from mpifl.options import BadInput, suggestion
from mpifl.store import Run

_NO_METHOD = (
    "seed",
    "name",
    "published",
    "runtime",
    "results",
    "evaluation",
    "data.path",
    "data.name",
)
"""options that change what is written, when and where, but not how a model is trained"""


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of one method: they differ in their seeds."""

    label: str
    """what sets it apart from the other groups"""
    runs: list[Run]

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def options(self) -> Options:
        """The first run's, which are all runs' but for the seed."""
        return options(self.runs[0])


def open_runs(paths: Iterable[str | Path]) -> list[Run]:
    """The runs at `paths` (folders, results.h5 or packed files).

    Raises BadInput for none, for one that cannot be read, for the same run twice, and for runs on
    different data.
    """
    runs = [Run.open(path) for path in paths]
    if not runs:
        raise BadInput(
            "runs: expected at least one run's folder, results.h5 or packed file; got none"
        )
    seen: dict[str, Run] = {}
    for run in runs:
        if run.run_id in seen:
            raise BadInput(
                f"runs: expected each run once; got run {run.run_id} as {seen[run.run_id].path}, {run.path}"
            )
        seen[run.run_id] = run
        if data_of(run) != data_of(runs[0]):
            both = " and ".join(
                f"{r.provenance.get('data_source', 'unknown data')} ({r.path})"
                for r in (runs[0], run)
            )
            raise BadInput(
                f"runs: expected runs on the same data; got {both}; look at them one data set at a time"
            )
    return runs


def data_of(run: Run) -> object:
    """What identifies the data of a run: the checksum; where a limit draws samples by the seed,
    what they are from.
    """
    of, source = options(run), str(run.provenance.get("data_source", ""))
    limits = of.get("data.train_limit", 0), of.get("data.test_limit", 0)
    return (
        (source.split("; limited to")[0], limits)
        if any(limits)
        else run.provenance.get("data_checksum", "")
    )


def options(run: Run) -> Options:
    """The options of a run, one dotted key each, as its config has them. Raises BadInput."""
    try:
        return dict(_flattened("", tomllib.loads(run.config)))
    except tomllib.TOMLDecodeError as problem:
        raise BadInput(
            f"{run.path}: expected a run with a config in TOML; got: {problem}"
        ) from None


def _flattened(where: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flattened(f"{where}.{key}" if where else key, below)
    else:
        yield name_today(where), tuple(value) if isinstance(value, list) else value


def group(runs: Sequence[Run], by: Sequence[str] = (), labels: Sequence[str] = ()) -> list[Group]:
    """`runs` as groups, in the order of their first runs: together where all options but the seed
    are equal.

    With `by`, only these options tell groups apart. `labels` replace those made from what differs.
    Raises BadInput for an option that no run has, the same method and seed twice, and another
    number of labels than groups.
    """
    members: dict[frozenset, list[Run]] = {}
    methods: list[Options] = []
    for run, method in zip(runs, (_method(run, by) for run in runs), strict=True):
        key = frozenset((name, repr(value)) for name, value in method.items())
        methods += [] if key in members else [method]
        members.setdefault(key, []).append(run)
    if not by:
        _refuse_repetition(members.values())
    own = [_name(group[0]) for group in members.values()]
    made = labels or distinct(
        own if len(members) == 1 else [label(method, methods) for method in methods], own
    )
    if len(made) != len(members):
        raise BadInput(
            f"label: expected {len(members)}, one for each group of runs; got {len(made)}"
        )
    return [Group(text, group) for text, group in zip(made, members.values(), strict=True)]


def _method(run: Run, by: Sequence[str]) -> Options:
    of = options(run)
    for key in by:
        if key not in of:
            raise BadInput(f"by: {key}: unknown option in {run.path}{suggestion(key, of)}")
    if by:
        return {key: of[key] for key in by}
    return {
        key: v
        for key, v in of.items()
        if not any(key == no or key.startswith(f"{no}.") for no in _NO_METHOD)
    }


def _refuse_repetition(members: Iterable[list[Run]]) -> None:
    for runs in members:
        seeds: dict[int, Run] = {}
        for run in runs:
            if run.seed in seeds:
                raise BadInput(
                    f"runs: expected each method and seed once; got {seeds[run.seed].path} and {run.path}, of seed "
                    f"{run.seed} both and equal in all that trains: leave one out"
                )
            seeds[run.seed] = run


def _name(run: Run) -> str:
    return str(options(run).get("name", run.path.name))
