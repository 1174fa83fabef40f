"""The plugins that a run was trained with: /plugins. They are kept as text, and never run here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mpifl.store import validate

_TEXTS = ("name", "sha256", "version", "text")


class StoredPlugin(NamedTuple):
    """A plugin file, module or package, and from when on the run had it."""

    name: str
    sha256: str = ""
    """of the text, in hex; empty for an installed package"""
    version: str = ""
    """of an installed package; else empty"""
    text: str = ""
    after_round: int = 0
    """the run had it after this round; 0: from its start"""

    @property
    def identity(self) -> tuple[str, str]:
        """What must stay the same in a resumed run: the text, or the package's version."""
        return (self.sha256, "") if self.sha256 else (self.name, self.version)

    @property
    def label(self) -> str:
        """In words."""
        if self.sha256:
            return f"{self.name}, SHA-256 {self.sha256[:16]}..."
        return f"{self.name} {self.version}, an installed package"


def latest(plugins: Sequence[StoredPlugin]) -> list[StoredPlugin]:
    """Those that the last rounds were trained with."""
    last = max((plugin.after_round for plugin in plugins), default=0)
    return [plugin for plugin in plugins if plugin.after_round == last]


def resumed(
    before: Sequence[StoredPlugin], now: Sequence[StoredPlugin], round: int
) -> list[StoredPlugin]:
    """The plugins of a run that goes on after `round` with those of `now`."""
    if round == 0:  # all rounds are trained again
        return list(now)
    kept = [plugin for plugin in before if plugin.after_round <= round]
    if identities(latest(kept)) == identities(now):
        return kept
    return [*kept, *(plugin._replace(after_round=round) for plugin in now)]


def identities(plugins: Sequence[StoredPlugin]) -> set[tuple[str, str]]:
    """Equal for plugins that train alike."""
    return {plugin.identity for plugin in plugins}


def arrays(plugins: Sequence[StoredPlugin]) -> dict[str, np.ndarray]:
    """The arrays (n) of /plugins by name; none without plugins."""
    if not plugins:
        return {}
    columns = {}
    for name in _TEXTS:
        columns[name] = np.array([getattr(plugin, name) for plugin in plugins], object)
    columns["after_round"] = np.array([plugin.after_round for plugin in plugins], "i8")
    return columns


def of_arrays(columns: Mapping[str, np.ndarray]) -> list[StoredPlugin]:
    """The plugins in the arrays of /plugins. Raises ValueError or KeyError for others."""
    if not columns:
        return []
    after = columns["after_round"]
    validate.check_array("plugins/after_round", after, "i", (None,))
    for name in _TEXTS:
        validate.check_array(f"plugins/{name}", columns[name], "O", (len(after),))
    rows = zip(*(columns[name].tolist() for name in (*_TEXTS, "after_round")), strict=True)
    return [StoredPlugin(*row) for row in rows]
