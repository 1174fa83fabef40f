"""Names of weights and layers, chosen by patterns such as "layer4.*"."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from mpifl.options import BadInput

_SHOWN = 20


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a dotted name, or something that it is in, fits one of the patterns.

    >>> matches("layer4.0.conv1.weight", ["layer4"]), matches("fc.bias", ["*.bias"])
    (True, True)
    >>> matches("layer40.weight", ["layer4"])
    False
    """
    return any(fnmatchcase(name, p) or fnmatchcase(name, f"{p}.*") for p in patterns)


def refuse_unmatched(where: str, patterns: Iterable[str], names: Collection[str]) -> None:
    """Raise BadInput that begins with `where` for a pattern that fits none of the names."""
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name in names):
            known = ", ".join(list(names)[:_SHOWN])
            more = " ..." if len(names) > _SHOWN else ""
            raise BadInput(
                f'{where}: expected names, or patterns such as "layer4.*", that fit some; got '
                f"{pattern!r}; names are: {known or 'none'}{more}"
            )
