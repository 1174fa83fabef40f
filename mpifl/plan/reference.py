"""Every option of a config in words, read from the classes that declare the options.

A `Topic` is a section of a config, or a name that a section or an option may have, such as `feddyn`
or `man`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple

from mpifl.data.sources import SOURCES
from mpifl.losses import LOSSES
from mpifl.options import Named, description, json_schema
from mpifl.runner.schema import TABLES, Config
from mpifl.runner.trackers import TRACKERS
from mpifl.schedules import SCHEDULES

SECTION = "a section"
"""what is allowed for an option that is a group of options"""

_CHOICES: Mapping[str, Mapping[str, type]] = {**TABLES, "local.loss": LOSSES, "callbacks": TRACKERS}


class Option(NamedTuple):
    """An option in words."""

    name: str
    default: str
    allowed: str
    meaning: str
    words: tuple[str, ...] = ()
    """the values that are words, if it may only have certain ones"""


@dataclass(frozen=True)
class Topic:
    """A section of a config, or a name that a section or an option may have."""

    path: str
    """the section or the option, such as local.loss; empty for the config itself"""
    name: str
    """such as man; empty for a section"""
    text: str
    options: Sequence[Option]

    @property
    def title(self) -> str:
        """As it stands in a config."""
        return f'{self.path} = "{self.name}"' if self.name else f"[{self.path}]"

    @property
    def summary(self) -> str:
        """The first paragraph of the text, on one line."""
        return " ".join(self.text.partition("\n\n")[0].split())

    def is_called(self, word: str) -> bool:
        """Whether a user may mean it: by its full name or the last part of it."""
        if self.name:
            return word in (self.name, f"{self.path}.{self.name}", f"{self.path}={self.name}")
        return word != "" and word in (self.path, self.path.rpartition(".")[2])

    def full_name(self, option: Option) -> str:
        """The dotted name of one of its options."""
        return f"{self.path}.{option.name}".removeprefix(".")


def topics() -> list[Topic]:
    """The config, its sections, then all names."""
    return _topics(tuple((path, *kinds) for path, kinds in _CHOICES.items()), tuple(SOURCES))


@cache
def _topics(choices: Hashable, sources: Hashable) -> list[Topic]:
    """`topics`, made once as long as the names are the same."""
    found = _sections("", Config)
    seen = set()
    for path, kinds in _CHOICES.items():
        for name, kind in kinds.items():
            if kind not in seen:  # one algorithm may be a part of another
                found.append(Topic(path, name, _method_text(kind), _options(kind)))
            seen.add(kind)
    for name, source in SOURCES.items():
        options = []
        for option, default in source.options.items():
            options.append(Option(option, _in_toml(default), "", ""))
        found.append(Topic("data.name", name, source.summary, options))
    return found


def _sections(path: str, kind: type) -> list[Topic]:
    """A group of options, and the groups in it."""
    found = [Topic(path, "", _docstring(kind), _options(kind, path))]
    for name, inner in _groups(kind).items():
        found += _sections(f"{path}.{name}".removeprefix("."), inner)
    return found


def _groups(kind: Any) -> dict[str, type]:
    """The options of a group that are groups themselves, without those chosen by name."""
    groups: dict[str, Any] = {}
    for name, field in kind.__pydantic_fields__.items():
        is_chosen = any(isinstance(part, Named) for part in field.metadata)
        if is_dataclass(field.annotation) and not is_chosen:
            groups[name] = field.annotation
    return groups


def _options(kind: type, path: str = "") -> list[Option]:
    properties = json_schema(kind)["properties"]
    groups = _groups(kind)
    found = []
    for field in fields(kind):  # type: ignore[arg-type]  # is a dataclass
        name = field.name
        if name in groups:
            section = f"{path}.{name}".removeprefix(".")
            found.append(Option(name, "", SECTION, f"see `mpifl explain {section}`"))
        else:
            default = "" if field.default is MISSING else _in_toml(field.default)
            known = properties[name]
            meaning = description(kind, name)
            found.append(Option(name, default, _allowed(known), meaning, tuple(_words(known))))
    return found


def _method_text(kind: type) -> str:
    """The docstring of a class; before it that of its file, if the file is about nothing else."""
    module = inspect.getmodule(kind)
    if module is None or not module.__doc__ or _classes_in(module.__name__) > 1:
        return _docstring(kind)
    return f"{inspect.cleandoc(module.__doc__)}\n\n{_docstring(kind)}"


def _classes_in(module: str) -> int:
    """How many of the classes with a name are declared in this module."""
    found: set[type] = set()
    for kinds in _CHOICES.values():
        found.update(kind for kind in kinds.values() if kind.__module__ == module)
    return len(found)


def _docstring(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def _in_toml(value: Any) -> str:
    """A default as a config has it; a group of options by its name."""
    for kinds in (*_CHOICES.values(), SCHEDULES):
        for name, kind in kinds.items():
            if type(value) is kind:
                return json.dumps(name)
    if isinstance(value, type) or callable(value):
        return ""
    return json.dumps(value)


def _allowed(known: Mapping[str, Any]) -> str:
    """The values that a JSON Schema allows, in words."""
    if "oneOf" in known:
        return _allowed(known["oneOf"][0])
    if "anyOf" in known:
        return "; or ".join(_allowed(one) for one in known["anyOf"])
    values = _values(known)
    if values:
        return ", ".join(str(value) for value in values)
    if "$ref" in known:
        return _CLASSES[known["$ref"].rpartition("/")[2]]
    kind = known.get("type")
    if kind == "array":
        return f"list of: {_allowed(known['items'])}" if "items" in known else "list"
    if kind in ("integer", "number"):
        return f"{kind}{_bounds(known)}"
    return _WORDS.get(str(kind), "")


def _values(known: Mapping[str, Any]) -> Sequence[Any]:
    """The values that a JSON Schema lists, a single one too."""
    return [known["const"]] if "const" in known else known.get("enum", ())


def _words(known: Mapping[str, Any]) -> Iterator[str]:
    """The words that a JSON Schema allows as values, also in a list."""
    for value in _values(known):
        if isinstance(value, str):
            yield value
    for one in known.get("anyOf", ()):
        yield from _words(one)
    if "items" in known:
        yield from _words(known["items"])


_CLASSES = {"Schedule": ", ".join(SCHEDULES), "Loss": "a loss"}
"""classes of options whose values are not groups of a config"""
_WORDS = {"boolean": "true, false", "string": "text", "object": "a table"}


def _bounds(known: Mapping[str, Any]) -> str:
    words = []
    if "exclusiveMinimum" in known:
        words.append(f"above {known['exclusiveMinimum']}")
    if "minimum" in known:
        words.append(f"from {known['minimum']}")
    if known.get("exclusiveMaximum", _HUGE) < _HUGE:
        words.append(f"below {known['exclusiveMaximum']}")
    if "maximum" in known:
        words.append(f"to {known['maximum']:,}")
    return "".join(f" {word}" for word in words)


_HUGE = 2**31
"""bounds that are there for memory's sake are left out"""
