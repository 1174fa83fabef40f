"""A sweep file -> its runs: every combination of base configs, cases and the grid's values, each
with a name.

    base = "demo.toml"                 a config, or a list of them; from the sweep file's folder
    out = "runs/digits"                where every run gets a folder; without it: runs/ and the sweep file's name

    [cases.method.fedavg]              options that vary together, under names of your own
    algorithm = "fedavg"
    [cases.method.feddyn-man]
    algorithm = { name = "feddyn", alpha = 0.01 }
    local.loss = "ce + man(zeta=0.15)"

    [grid]                             options that vary each by itself
    partition.alpha = [0.1, 0.3]
    seed = [1, 2, 3]

Twelve runs, `feddyn-man_alpha=0.3_seed=2` among them. The last line varies fastest; numbers start
at 0.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from mpifl import config as configs
from mpifl.options import BadInput, options, validated
from mpifl.runner import schema

_MOST_RUNS = 10_000
_LONGEST_NAME = 200  # a file system's limit is 255 bytes
_LONGEST_OUT = 1000
_UNFIT = r"[^A-Za-z0-9_.+=,-]+"

Options = dict[str, Any]
"""dotted keys and their values"""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: what `mpifl run BASE ASSIGNMENTS... --out OUT` would run."""

    name: str
    base: str
    assignments: tuple[str, ...]
    out: Path


@dataclass(frozen=True)
class _Choice:
    """One value of what varies: its part of the run's name, and the options that it sets."""

    label: str
    options: Options = field(default_factory=dict)
    base: str = ""


@options
class Sweep:
    """What a sweep file may say."""

    base: Any
    out: str = ""
    cases: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    grid: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> list[Cell]:
    """The runs of the sweep file at `path`, in the order of their numbers; raises BadInput."""
    sweep = validated(Sweep, configs.read(path))
    axes = [_bases(path.parent, sweep.base), *_cases(sweep.cases), *_grid(sweep.grid)]
    _refuse_twice(axes)
    if (count := prod(map(len, axes))) > _MOST_RUNS:
        raise BadInput(
            f"{path}: expected at most {_MOST_RUNS:,} runs; got {count:,}; make it several sweeps"
        )
    if not sweep.out.isprintable() or len(sweep.out) > _LONGEST_OUT:
        raise BadInput(
            f"out: expected a folder's path of {_LONGEST_OUT} printable letters at most; got {sweep.out!r}"
        )
    out = Path(sweep.out) if sweep.out else Path("runs") / path.stem
    cells = [_cell(choices, out) for choices in itertools.product(*axes)]
    names: dict[str, Cell] = {}
    for cell in cells:
        if cell.name in names:
            raise BadInput(
                f"{path}: expected a name of its own for each run; got two runs {cell.name}; name `cases`"
            )
        names[cell.name] = cell
    return cells


def _cell(choices: Sequence[_Choice], out: Path) -> Cell:
    given = {key: value for choice in choices for key, value in choice.options.items()}
    name = (
        "_".join(choice.label for choice in choices if choice.label) or Path(choices[0].base).stem
    )
    if len(name) > _LONGEST_NAME:
        raise BadInput(
            f"{name}: expected a name of at most {_LONGEST_NAME} letters; got {len(name)}; name `cases`"
        )
    ordered = sorted(given, key=lambda key: key.count("."))  # model=cnn before model.norm=group
    assignments = (
        f"name={json.dumps(name)}",
        *(f"{key}={_text(key, given[key])}" for key in ordered),
    )
    return Cell(name, choices[0].base, assignments, out / name)


def _text(key: str, value: Any) -> str:
    """A value as TOML on one line; JSON is that, for what a config's options can be."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        raise BadInput(
            f"{key}: expected text, a number, true, false or a list; got {value!r}"
        ) from None


def _bases(folder: Path, base: Any) -> list[_Choice]:
    given = base if isinstance(base, tuple) else (base,)
    if not given or not all(isinstance(one, str) and one and one.isprintable() for one in given):
        raise BadInput(f"base: expected a path in quotes, or a list of them; got {base!r}")
    paths = [folder / one for one in given]
    depth = next(
        (n for n in range(1, 9) if len({_tail(path, n) for path in paths}) == len(paths)), None
    )
    if depth is None:
        raise BadInput(f"base: expected different configs; got {', '.join(given)}")
    return [
        _Choice(_tail(path, depth) if isinstance(base, tuple) else "", base=str(path))
        for path in paths
    ]


def _tail(path: Path, depth: int) -> str:
    """The last `depth` parts of a path as one word, without the file's extension."""
    return _fit("-".join((*path.parts[:-1], path.stem)[-depth:]))


def _cases(cases: dict[str, dict[str, dict[str, Any]]]) -> Iterator[list[_Choice]]:
    for axis, choices in cases.items():
        if not choices:
            raise BadInput(f"cases.{axis}: expected tables, one for each case; got none")
        for label in choices:
            if not label.strip(".") or label != _fit(label):
                raise BadInput(
                    f"cases.{axis}: expected names of letters, digits and . _ + = , -; got {label!r}"
                )
        yield [_Choice(label, dict(_flat("", given))) for label, given in choices.items()]


def _grid(grid: dict[str, Any]) -> Iterator[list[_Choice]]:
    axes = dict(_flat("", grid))
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise BadInput(f"grid.{key}: expected a list of values; got {values!r}")
    for key, values in axes.items():
        word = _word(key, list(axes))
        yield [
            _Choice(_label(word, key, dict(_flat(key, value))), dict(_flat(key, value)))
            for value in values
        ]


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The options of a table under dotted keys; `model = "cnn"` is short for `model.name = "cnn"`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
    else:
        yield (
            f"{prefix}.name" if _is_named(prefix) and isinstance(value, str) else prefix,
            value,
        )


def _is_named(key: str) -> bool:
    """Whether a key is that of a section with a name."""
    return configs.name_today(key) in schema.TABLES


def _word(key: str, keys: list[str]) -> str:
    """As much of a key's end as tells it from the other keys."""
    parts = key.split(".")
    ends = (".".join(parts[-n:]) for n in range(1, len(parts)))
    return next(
        (end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1), key
    )


def _label(word: str, key: str, given: Options) -> str:
    """`alpha=0.3` of a number, `feddyn` of a named section, `feddyn,alpha=0.01` of a table."""
    parts = []
    for option, value in given.items():
        named = (
            option == f"{key}.name" and _is_named(key) or option == key and key.endswith(".name")
        )
        shown = _fit(value if isinstance(value, str) else _text(option, value))
        parts.append(
            shown
            if named
            else f"{option.removeprefix(f'{key}.') if option != key else word}={shown}"
        )
    return ",".join(parts)


def _fit(text: str) -> str:
    """`text` without what does not belong into a file's name."""
    return re.sub(_UNFIT, "-", re.sub(f"^{_UNFIT}|{_UNFIT}$| ", "", text))


def _refuse_twice(axes: list[list[_Choice]]) -> None:
    """BadInput where two axes set one option, or an axis sets the name, which is made from the
    others.
    """
    owners: dict[str, int] = {"name": -1}
    for number, axis in enumerate(axes):
        for key in dict.fromkeys(key for choice in axis for key in choice.options):
            if key == "name":
                raise BadInput(
                    "name: expected no name in a sweep, which makes the runs' names; got one"
                )
            if owners.setdefault(key, number) != number:
                raise BadInput(
                    f"{key}: expected it once, in `grid` or in one table of `cases`; got it twice"
                )
