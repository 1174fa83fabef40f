"""Make a network of another library by its name there, with its own options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from mpifl.options import BadInput


def created(
    make: Callable[..., nn.Module],
    arch: str,
    own: Mapping[str, Any],
    size: Mapping[str, Any],
    **fixed: Any,
) -> nn.Module:
    """`make(arch, ...)` with the options `own` and `fixed`, and with `size` if it can have it.

    Raises BadInput for options that the network does not have, or that do not fit.
    """
    for name in own:
        if name in fixed:
            raise BadInput(
                f"model.options: expected options that do not follow from the data; got {name}"
            )
    try:
        return _sized(make, arch, {**fixed, **own}, {**size, **own})
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"model.options: expected options of {arch}; got: {reason}") from error


def _sized(
    make: Callable[..., nn.Module],
    arch: str,
    options: Mapping[str, Any],
    with_size: Mapping[str, Any],
) -> nn.Module:
    try:
        return make(arch, **{**options, **with_size})
    except TypeError as error:  # most networks take images of any size
        if not any(name in str(error) for name in with_size.keys() - options.keys()):
            raise
    return make(arch, **options)
