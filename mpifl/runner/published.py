"""Whether a run is still the experiment whose published numbers its config quotes.

A run that was started from the config of a published experiment keeps its `[published]`, whatever
was overridden. The run's config is compared with that experiment's, option by option; options in
NO_MATTER do not change what is trained.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import mpifl
from mpifl import config as configs
from mpifl.options import BadInput
from mpifl.runner import schema

CONFIGS = Path(mpifl.__file__).parent / "share" / "configs"

NO_MATTER = ("name", "seed", "evaluation", "results", "runtime", "published")
"""options, and tables of them, that do not change what is trained"""

_DATA = ("data.path", "data.name")
"""compared by what the data is, not by where it lies"""

_SOURCE = "torchvision.datasets."
_ABSENT = "not an option there"


class Change(NamedTuple):
    """An option that differs from the published experiment's."""

    option: str
    ours: Any
    published: Any

    def __str__(self) -> str:
        return f"{self.option} = {self.ours} (published: {self.published})"


def changes(config: str, data_source: str = "") -> list[Change]:
    """What sets a run apart from the experiment whose published numbers it quotes.

    `config` is the run's config as TOML text, `data_source` where its data came from, as provenance
    has it. The run is compared with the nearest of the configs that come with mpifl and have these
    numbers; where none has, with what `published.overridden` says of the user's own. The list is
    empty for the experiment itself. Raises BadInput for a text that is no config.
    """
    raw = configs.of_run(config, "config")
    published = raw.get("published", {})
    if not configs.quotes_numbers(raw):
        return []
    options = configs.flat(_resolved(raw))
    experiments = _experiments_with(published)
    if not experiments:
        experiment = {**options, **published.get("overridden", {})}
        return _differences(_comparable(options), _comparable(experiment))
    ours = _comparable(options, data_source)
    found = [_differences(ours, _options_of(path)) for path in experiments]
    return min(found, key=len)


def _experiments_with(published: Mapping[str, Any]) -> list[Path]:
    """The shipped configs that quote the same numbers from the same table."""
    fitting = []
    for path, theirs in _shipped().items():
        if all(published.get(name) == value for name, value in theirs.items()):
            fitting.append(path)
    return fitting


@cache
def _shipped() -> Mapping[Path, Mapping[str, Any]]:
    """`[published]` of each config that comes with mpifl and has numbers there."""
    found = {}
    for path in sorted(CONFIGS.rglob("*.toml")):
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        if configs.quotes_numbers(raw):
            found[path] = raw["published"]
    return found


@cache
def _options_of(path: Path) -> Mapping[str, Any]:
    return _comparable(configs.flat(_resolved(configs.read(path))))


def _resolved(raw: dict[str, Any]) -> dict[str, Any]:
    """The raw config with every option; as it is where this version of mpifl refuses it."""
    try:
        return tomllib.loads(schema.text(schema.resolve(raw)))
    except BadInput:
        return raw


def _comparable(options: Mapping[str, Any], data_source: str = "") -> dict[str, Any]:
    """The options that count, by dotted name; `data` says which data set it is."""
    data = _data(options, data_source)
    counted = {"data": data}
    for option, value in options.items():
        if option not in _DATA and not _is_no_matter(option):
            counted[option] = value
    return counted


def _data(options: Mapping[str, Any], source: str) -> str:
    """The data set's short name: `cifar100` for data/cifar100.h5 and for torchvision's."""
    if source.startswith(_SOURCE):
        return source.partition(";")[0].removeprefix(_SOURCE).lower()
    path = str(options.get("data.path", ""))
    return Path(path).stem if path else str(options.get("data.name", ""))


def _is_no_matter(option: str) -> bool:
    return option.partition(".")[0] in NO_MATTER


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[Change]:
    """The options that differ; of a part with another name, only its name."""
    found = []
    replaced: list[str] = []
    for option in sorted({*ours, *theirs}, key=_names_first):
        if option.startswith(tuple(replaced)):
            continue
        mine = ours.get(option, _ABSENT)
        published = theirs.get(option, _ABSENT)
        if mine != published:
            found.append(Change(option.removesuffix(".name"), mine, published))
            if option.endswith((".name", ".kind")):
                replaced.append(option.rpartition(".")[0] + ".")
    return found


def _names_first(option: str) -> tuple[bool, str]:
    return not option.endswith((".name", ".kind")), option
