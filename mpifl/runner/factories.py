"""Factories of networks that runs name (`model.factory`), as plugins are: called again only if the
user has trained with that very text.

Of a dotted module, imports of the packages that it is in would run code that was never compared. So
only top-level modules are remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from mpifl.models import Architecture
from mpifl.models.module import Module, allow
from mpifl.options import BadInput
from mpifl.runner.plugin_code import Plugin, content_of, digest_of
from mpifl.runner.plugin_record import recalled


def used(model: Architecture) -> Iterator[Plugin]:
    """The module of a config's factory, to be remembered."""
    if isinstance(model, Module):
        yield from _found(model.factory)


def allow_remembered(raw: Mapping[str, Any]) -> None:
    """Allow the factory in the config of a run, where the user has trained with its text."""
    model = raw.get("model")
    factory = model.get("factory") if isinstance(model, Mapping) else None
    if not isinstance(factory, str):
        return
    for module in _found(factory):
        if recalled(module.sha256) == module.origin:
            allow(raw)


def _found(factory: str) -> Iterator[Plugin]:
    """The module of a factory, read and not run; nothing for one that is not in one Python file."""
    place = factory.partition(":")[0]
    spec = PathFinder.find_spec(place) if place.isidentifier() else None
    if spec is None or not spec.has_location or not str(spec.origin).endswith(".py"):
        return
    if spec.submodule_search_locations is not None:  # a package
        return
    try:
        content = content_of(Path(str(spec.origin)))
    except BadInput:
        return
    yield Plugin(place, f"factory {spec.origin}", str(spec.origin), (), "", digest_of(content))
