"""What a run stores of the plugins in its config, and what a resume says where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass

from mpifl.data.sources import SOURCES
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse
from mpifl.options import BadInput
from mpifl.runner import plugins
from mpifl.runner.plugin_code import Plugin
from mpifl.runner.schema import Config
from mpifl.store import Run, StoredPlugin
from mpifl.store.plugin_texts import identities, latest


def of_config(config: Config) -> list[StoredPlugin]:
    """The files and modules that a config names, and the installed packages that it uses."""
    plugins.use(config.plugins)
    stored = []
    for plugin in plugins.in_use():
        if plugin.sha256 or _is_used(plugin, config):
            stored.append(StoredPlugin(plugin.name, plugin.sha256, plugin.version, plugin.text))
    return stored


def difference(run: Run, now: Sequence[StoredPlugin]) -> str:
    """How the plugins of a run differ from those of `now`, in a few words; "" if they do not."""
    before = latest(run.plugins)
    if identities(before) == identities(now):
        return ""
    new = {plugin.name: plugin for plugin in now}
    for plugin in before:
        if plugin.name not in new:
            return f"without {plugin.name}"
        if plugin.identity != new[plugin.name].identity:
            return f"with another {plugin.name}"
    known = {plugin.name for plugin in before}
    added = [name for name in new if name not in known]
    return f"with {', '.join(added)} added"


def refuse_difference(run: Run, now: Sequence[StoredPlugin]) -> None:
    """Raise BadInput where the plugins of a run are others than those of `now`."""
    before = latest(run.plugins)
    common = identities(before) & identities(now)
    if common == identities(before) == identities(now):
        return
    expected = [plugin for plugin in before if plugin.identity not in common]
    got = [plugin for plugin in now if plugin.identity not in common]
    raise BadInput(
        f"{run.path}: plugins: expected {_labels(expected)}, as the run was begun; got "
        f"{_labels(got)}; allowed: the text of then (mpifl show RUN --plugin-text NAME), a new "
        "run, or --allow-other-plugins, which continues and marks the run in tables"
    )


def _labels(found: Sequence[StoredPlugin]) -> str:
    words = []
    for plugin in found:
        mark = f"SHA-256 {plugin.sha256[:12]}..." if plugin.sha256 else plugin.version
        words.append(f"{plugin.name} ({mark})")
    return ", ".join(words) or "none"


def _is_used(plugin: Plugin, config: Config) -> bool:
    """Whether a config makes use of something that a plugin has registered."""
    used = [type(part) for part in _parts(config)]
    for entry in plugin.entries:
        if entry.value in used:
            return True
        if entry.kind.table is SOURCES and not config.data.path and entry.name == config.data.name:
            return True
    return False


def _parts(part: object) -> Iterator[object]:
    """All groups of options in a config, or in a part of it; those in its loss too."""
    if isinstance(part, Config):
        yield from _parts(parse(part.local.loss, LOSSES))
    if isinstance(part, tuple):
        for item in part:
            yield from _parts(item)
    elif is_dataclass(part):
        yield part
        for option in fields(part):
            yield from _parts(getattr(part, option.name))
