"""A network that a function of the user's makes: any `nn.Module` that returns logits.

Only a module that the user has named is imported: in a config on disk, on the command line, in
Python (`allow`), or in the environment variable MPIFL_FACTORIES. A run folder names none, for
somebody else may have sent it.
"""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import field
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from torch import nn

from mpifl.models.adapted import adapted
from mpifl.models.base import Architecture, Shape
from mpifl.models.network import Network
from mpifl.options import BadInput, Free, options

ENVIRONMENT = "MPIFL_FACTORIES"
"""the variable with names of modules, separated by commas, that run folders may use"""
_ALLOWED: set[str] = set()


def allow(config: Any) -> None:
    """Let the factory of a raw config be called: the user has written it."""
    model = config.get("model") if isinstance(config, Mapping) else getattr(config, "model", None)
    factory = model.get("factory") if isinstance(model, Mapping) else getattr(model, "factory", "")
    if isinstance(factory, str):
        _ALLOWED.add(factory.partition(":")[0])


@options
class Module(Architecture):
    """What `factory` returns: any `nn.Module` that maps images [B, C, H, W] to logits [B, classes].

    The factory is called with those of these arguments that it takes by name: `classes`; `channels`
    and `size = (height, width)` of the images; and with `options`. It may draw weights from torch's
    generator, which the run's seed sets.
    """

    name = "module"
    factory: str = ""
    """a function or class in a module that Python can import, as in "mine:build" or
    "package.nets:Net"
    """
    options: Free = field(default_factory=dict)
    """further arguments of the factory"""

    def build(self, shape: Shape, classes: int) -> Network:
        factory = self._factory()
        channels, *size = shape
        known = {"classes": classes, "channels": channels, "size": tuple(size)}
        inner = self._called(factory, known)
        if not isinstance(inner, nn.Module):
            raise BadInput(
                f"model.factory: expected {self.factory} to return an nn.Module; got {inner!r}"
            )
        return adapted(inner, shape, classes)

    def _called(self, factory: Callable[..., Any], known: dict[str, Any]) -> Any:
        """What the factory returns. Raises BadInput, with the place, for what it raises."""
        try:
            return factory(**{**_accepted(factory, known), **self.options})
        except (BadInput, MemoryError):
            raise
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise BadInput(
                f"model.factory: expected {self.factory} to make a network from its options and "
                f"those of {known} that it takes; got {type(error).__name__}: {error} "
                f"({Path(last.filename).name}, line {last.lineno})"
            ) from error

    def _factory(self) -> Callable[..., Any]:
        place, _, name = self.factory.partition(":")
        if not place or not name:
            raise BadInput(
                f'model.factory: expected "module:function", such as "mine:build"; got '
                f"{self.factory!r}"
            )
        _refuse_not_named(place)
        try:
            found = importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise BadInput(
                f"model.factory: expected a module that Python can import; got {place!r}: {error}; "
                "PYTHONPATH names the folders where it looks"
            ) from error
        factory = getattr(found, name, None)
        if not callable(factory):
            raise BadInput(f"model.factory: expected a function or class in {place}; got {name!r}")
        return factory


def _refuse_not_named(place: str) -> None:
    if place not in _ALLOWED and place not in os.environ.get(ENVIRONMENT, "").split(","):
        raise BadInput(
            f"model.factory: expected a module that you have named, since a run may not say what "
            f"is run; got {place!r}, which only a run names; if you trust it, set "
            f"{ENVIRONMENT}={place}"
        )


def _accepted(factory: Callable[..., Any], known: dict[str, Any]) -> dict[str, Any]:
    """Those of the `known` arguments that the factory takes."""
    parameters = signature(factory).parameters
    if any(one.kind == Parameter.VAR_KEYWORD for one in parameters.values()):
        return known
    return {name: value for name, value in known.items() if name in parameters}
