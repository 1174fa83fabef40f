"""A sweep file -> its runs: every combination of base configs, cases and the grid's values.

    base = "demo.toml"           a config, or a list of them; relative to the sweep file's folder
    out = "runs/digits"          the folder of all runs; without it, runs/NAME of NAME.toml

    [common]                     options of all runs
    rounds = 60

    [cases.method.fedavg]        options that vary together, under names that you choose
    algorithm = "fedavg"
    [cases.method.feddyn-man]
    algorithm = { name = "feddyn", alpha = 0.01 }
    local.loss = "ce + man(zeta=0.15)"

    [grid]                       options that vary each by itself
    partition.alpha = [0.1, 0.3]
    seed = [1, 2, 3]

This gives twelve runs; one is `feddyn-man_alpha=0.3_seed=2`. The last line varies fastest. Runs are
numbered from 0. An option of the grid with a single value is not part of the names.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

from mpifl import config as configs
from mpifl.options import BadInput, options, validated
from mpifl.runner import schema

_MOST_RUNS = 10_000
_LONGEST_NAME = 200  # a file system's limit is 255 bytes
_LONGEST_OUT = 1000
_UNFIT = r"[^A-Za-z0-9_.+=,-]+"  # characters that do not belong into a folder's name

Options = dict[str, Any]
"""dotted keys and their values"""


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep, as `mpifl run BASE ASSIGNMENTS... --out OUT` would run it."""

    name: str
    base: str
    options: tuple[str, ...]
    """assignments of all options but the name"""
    out: Path
    first_name: str
    """the name that version 0.1.0 gave the run: with every option of the grid"""

    @property
    def assignments(self) -> tuple[str, ...]:
        return (f"name={json.dumps(self.name)}", *self.options)

    def called(self, name: str) -> SweepRun:
        """The same run under another name, in the folder of that name."""
        return replace(self, name=name, out=self.out.with_name(name))


@dataclass(frozen=True)
class _Choice:
    """One value of an axis: its part of the run's name, and the options that it sets."""

    label: str
    options: Options = field(default_factory=dict)
    base: str = ""
    first_label: str = ""
    """the label in `SweepRun.first_name`, if it is another"""


_Axis = list[_Choice]
"""what varies independently: the base config, a table of cases, an option of the grid"""


@options
class Sweep:
    """What a sweep file may contain."""

    base: Any
    out: str = ""
    common: dict[str, Any] = field(default_factory=dict)
    cases: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    grid: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> list[SweepRun]:
    """The runs of the sweep file at `path`, in the order of their numbers; raises BadInput."""
    sweep = validated(Sweep, configs.read(path))
    common = [_Choice("", _flat("", sweep.common))]
    axes = [
        _bases(path.parent, sweep.base),
        common,
        *_cases(sweep.cases),
        *_grid(sweep.grid),
    ]
    _refuse_repeated_options(axes)
    count = prod(len(axis) for axis in axes)
    if count > _MOST_RUNS:
        raise BadInput(
            f"{path}: expected at most {_MOST_RUNS:,} runs; got {count:,}; make it several sweeps"
        )
    if not sweep.out.isprintable() or len(sweep.out) > _LONGEST_OUT:
        raise BadInput(
            f"out: expected a folder's path of at most {_LONGEST_OUT} printable characters; "
            f"got {sweep.out!r}"
        )
    out = configs.expanded(sweep.out, "out") if sweep.out else Path("runs") / path.stem
    runs = [_run(choices, out, path) for choices in itertools.product(*axes)]
    _refuse_repeated_names(path, runs)
    return runs


def _refuse_repeated_names(path: Path, runs: list[SweepRun]) -> None:
    names = set()
    for run in runs:
        if run.name in names:
            raise BadInput(
                f"{path}: expected a name of its own for each run; got two runs {run.name}; "
                "name `cases`"
            )
        names.add(run.name)


def _run(choices: Sequence[_Choice], out: Path, sweep: Path) -> SweepRun:
    """The run of one choice of each axis; the first axis is the base config.

    Plugins that the `sweep` file names are relative to it, as base configs are.
    """
    base = choices[0].base
    name = _joined([choice.label for choice in choices]) or Path(base).stem
    first_name = _joined([choice.first_label or choice.label for choice in choices])
    if len(name) > _LONGEST_NAME:
        raise BadInput(
            f"{name}: expected a name of at most {_LONGEST_NAME} characters; got {len(name)}; "
            "name `cases`"
        )
    chosen: Options = {}
    for choice in choices:
        chosen |= choice.options
    if isinstance(chosen.get("plugins"), list):
        chosen["plugins"] = configs.anchored(chosen["plugins"], sweep)
    assignments = []
    for key in sorted(chosen, key=lambda key: key.count(".")):  # model=cnn before model.norm=group
        assignments.append(f"{key}={_text(key, chosen[key])}")
    if not first_name or len(first_name) > _LONGEST_NAME:
        first_name = name
    return SweepRun(name, base, tuple(assignments), out / name, first_name)


def _joined(labels: Iterable[str]) -> str:
    return "_".join(label for label in labels if label)


def _text(key: str, value: Any) -> str:
    """A value as TOML on one line. For all values that options can have, JSON is TOML."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        raise BadInput(
            f"{key}: expected text, a number, true, false or a list; got {value!r}"
        ) from None


def _bases(folder: Path, base: Any) -> _Axis:
    """The base configs; several have labels, which are as short as they can differ."""
    given = base if isinstance(base, tuple) else (base,)
    if not given or not all(_is_path(one) for one in given):
        raise BadInput(f"base: expected a path in quotes, or a list of them; got {base!r}")
    paths = [folder / configs.expanded(one, "base") for one in given]
    if not isinstance(base, tuple):
        return [_Choice("", base=str(paths[0]))]
    for depth in range(1, 9):
        labels = [_tail(path, depth) for path in paths]
        if len(set(labels)) == len(labels):
            return [
                _Choice(label, base=str(path)) for label, path in zip(labels, paths, strict=True)
            ]
    raise BadInput(f"base: expected different configs; got {', '.join(given)}")


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def _tail(path: Path, depth: int) -> str:
    """The last `depth` parts of a path as one word, without the file's extension."""
    parts = (*path.parts[:-1], path.stem)
    return _fit("-".join(parts[-depth:]))


def _cases(cases: dict[str, dict[str, dict[str, Any]]]) -> Iterator[_Axis]:
    for axis, choices in cases.items():
        if not choices:
            raise BadInput(f"cases.{axis}: expected tables, one for each case; got none")
        for label in choices:
            if not label.strip(".") or label != _fit(label):
                raise BadInput(
                    f"cases.{axis}: expected names of letters, digits and . _ + = , -; "
                    f"got {label!r}"
                )
        yield [_Choice(label, _flat("", table)) for label, table in choices.items()]


def _grid(grid: dict[str, Any]) -> Iterator[_Axis]:
    lists = _flat("", grid)
    for key, values in lists.items():
        if not isinstance(values, list) or not values:
            raise BadInput(f"grid.{key}: expected a list of values; got {values!r}")
    for key, values in lists.items():
        word = _shortest_end(key, list(lists))
        axis = []
        for value in values:
            chosen = _flat(key, value)
            label = _label(word, key, chosen)
            shown = label if len(values) > 1 else ""
            axis.append(_Choice(shown, chosen, first_label=label))
        yield axis


def _flat(prefix: str, value: Any) -> Options:
    """The options of a table by dotted keys; `model = "cnn"` is short for `model.name = "cnn"`."""
    if isinstance(value, dict):
        found: Options = {}
        for key, inner in value.items():
            found |= _flat(f"{prefix}.{key}" if prefix else key, inner)
        return found
    if isinstance(value, str) and _is_named(prefix):
        return {f"{prefix}.name": value}
    return {prefix: value}


def _is_named(key: str) -> bool:
    """Whether a key is that of a section with a name."""
    return configs.name_today(key) in schema.TABLES


def _shortest_end(key: str, keys: list[str]) -> str:
    """The shortest end of a dotted key that no other of the `keys` has."""
    parts = key.split(".")
    for count in range(1, len(parts)):
        end = ".".join(parts[-count:])
        if sum(f".{other}".endswith(f".{end}") for other in keys) == 1:
            return end
    return key


def _label(word: str, key: str, chosen: Options) -> str:
    """`alpha=0.3` for a number, `feddyn` for a named section, `feddyn,alpha=0.01` for a table."""
    parts = []
    for option, value in chosen.items():
        shown = _fit(value if isinstance(value, str) else _text(option, value))
        if option == key:
            parts.append(shown if key.endswith(".name") else f"{word}={shown}")
        elif option == f"{key}.name" and _is_named(key):
            parts.append(shown)
        else:
            parts.append(f"{option.removeprefix(f'{key}.')}={shown}")
    return ",".join(parts)


def _fit(text: str) -> str:
    """`text` without characters that do not belong into a folder's name."""
    trimmed = re.sub(f"^{_UNFIT}|{_UNFIT}$| ", "", text)
    return re.sub(_UNFIT, "-", trimmed)


def _refuse_repeated_options(axes: list[_Axis]) -> None:
    """Raise BadInput if two axes set one option, or an axis sets the runs' names."""
    owners: dict[str, int] = {}
    for number, axis in enumerate(axes):
        for choice in axis:
            for key in choice.options:
                if key == "name":
                    raise BadInput(
                        "name: expected no name in a sweep, which makes the runs' names; got one"
                    )
                if owners.setdefault(key, number) != number:
                    raise BadInput(
                        f"{key}: expected it once, in `common`, `grid` or one table of `cases`; "
                        "got it twice"
                    )
