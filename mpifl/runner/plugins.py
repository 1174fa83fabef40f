"""Plugins: files and modules that register losses, algorithms, models ... of somebody's own.

A config names them: `plugins = ["mine.py", "some.module"]`. Each becomes NAME@SHA-256, which is
what a run stores of it in its config, beside the text in `/plugins`.

Who may say that a plugin runs? The user: by a config on disk, on the command line (`plugins=...`,
`--plugin FILE`), in a Python call; and whoever installs a package with an entry point
`mpifl.plugins`. A run folder may not, for somebody else may have sent it: what its config names is
looked up by the digest alone, among the files of `--plugin` and the plugins that this user has
trained with (see plugin_record.py). No path that stands in a run is followed.
"""

from __future__ import annotations

import os
import re
import shlex
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mpifl.config import expanded, is_file
from mpifl.options import BadInput
from mpifl.runner import plugin_code
from mpifl.runner.plugin_code import Plugin, content_of, digest_of
from mpifl.runner.plugin_record import recalled
from mpifl.store import Run

_PINNED = re.compile(r"(.+)@([0-9a-f]{64})")
_SHORT = 12
"""characters of a digest in a message"""
HOW = "--plugin FILE"
IN_CONFIG = 'plugins=["FILE"]'
"""how the user gives a plugin to a command that reads a run, and to one that reads a config"""


class Pinned(NamedTuple):
    """A plugin as a run's config names it."""

    name: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}@{self.sha256}"


_loaded: dict[str, Plugin] = {}
"""the plugins that have run in this process, by their digest"""
_in_use: list[Plugin] = []
"""the plugins whose names are known now"""


def pinned(entry: object) -> Pinned | None:
    """NAME@SHA-256 as its parts; None for anything else."""
    match = _PINNED.fullmatch(entry) if isinstance(entry, str) else None
    return Pinned(match[1], match[2]) if match else None


# --- what the user names ------------------------------------------------------------------------


def load_named(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A raw config that the user has given, with its plugins loaded, and named by their digests.

    Raises BadInput, in one line, for a file that is not there, or that fails while it is loaded.
    """
    entries = raw.get("plugins", [])
    if not isinstance(entries, list | tuple):
        raise BadInput(f"plugins: expected a list of files and modules; got {entries!r}")
    if not entries:
        return dict(raw)
    use(())
    names = []
    for entry in entries:
        plugin = _named(entry)
        _take_into_use(plugin)
        names.append(str(Pinned(plugin.name, plugin.sha256)))
    _refuse_repeated(names)
    return {**raw, "plugins": names}


def _named(entry: object) -> Plugin:
    """The plugin that one entry names: a file, a module, or NAME@SHA-256 of a stored config."""
    if isinstance(entry, os.PathLike):
        entry = os.fspath(entry)
    if not isinstance(entry, str) or not entry or "\0" in entry:
        raise BadInput(f"plugins: expected the name of a file or a module; got {entry!r}")
    known = pinned(entry)
    if known is not None:
        plugin = _trusted(known, (), {})
        if plugin is None:
            raise _untrusted("config", [known], (), IN_CONFIG)
        return plugin
    if is_file(entry):
        return file_plugin(expanded(entry, "plugins"))
    if not all(part.isidentifier() for part in entry.split(".")):
        raise BadInput(f"plugins: expected a file (NAME.py) or a module (a.b); got {entry!r}")
    return _module(entry)


def file_plugin(path: Path) -> Plugin:
    """The plugin in a file, run at most once in this process."""
    return _of_content(path.name, content_of(path), str(path.absolute()))


def _of_content(name: str, content: bytes, path: str) -> Plugin:
    sha256 = digest_of(content)
    if sha256 not in _loaded:
        _loaded[sha256] = plugin_code.run_text(name, content, path)
    return _loaded[sha256]


def _module(name: str) -> Plugin:
    for plugin in _loaded.values():  # an edited file is not imported again
        if plugin.origin == name:
            return plugin
    plugin = plugin_code.import_module(name)
    _loaded[plugin.sha256] = plugin
    return plugin


def _refuse_repeated(names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise BadInput(f"plugins: expected each text once; got {name} twice")


# --- what a stored config names -----------------------------------------------------------------


def load_stored(
    run: Run, raw: dict[str, Any], files: Sequence[Path | str] = (), how: str = HOW
) -> dict[str, Any]:
    """`raw`, the config of a run, once its plugins are loaded from where the user allows it.

    `files` are those that the user gives for it, and `how` says in an error how to give them.
    Raises BadInput that names the plugins and their digests which the user has neither given nor
    trained with.
    """
    entries = raw.get("plugins", [])
    if not isinstance(entries, list) or not entries:
        return raw
    use(())
    given = [Path(file) for file in files]
    texts = {stored.sha256: stored.text for stored in run.plugins}
    missing = []
    for entry in entries:
        known = pinned(entry)
        if known is None:
            raise BadInput(
                f"{run.path}: plugins: expected NAME@SHA-256, as runs store them; got {entry!r}, "
                "which is not loaded, since a run may not say what is run"
            )
        plugin = _trusted(known, given, texts)
        if plugin is None:
            missing.append(known)
        else:
            _take_into_use(plugin)
    if missing:
        raise _untrusted(str(run.path), missing, given, how)
    return raw


def _trusted(known: Pinned, files: Sequence[Path], texts: Mapping[str, str]) -> Plugin | None:
    """A plugin by its digest: loaded before, in a file of the user's, or recorded as run before."""
    if known.sha256 in _loaded:
        return _loaded[known.sha256]
    for path in files:
        content = content_of(path)
        if digest_of(content) == known.sha256:
            return _of_content(known.name, content, str(path.absolute()))
    return _recorded(known, texts)


def _recorded(known: Pinned, texts: Mapping[str, str]) -> Plugin | None:
    """A plugin that the user has trained with: from where it was, or, if it is another there now,
    from its text in the run.
    """
    origin = recalled(known.sha256)
    if not origin:
        return None
    with suppress(BadInput):
        plugin = _module(origin) if not is_file(origin) else None
        if plugin is not None and plugin.sha256 == known.sha256:
            return plugin
    candidates = [texts.get(known.sha256, "").encode()]
    with suppress(BadInput):
        candidates.insert(0, content_of(Path(origin)))
    for content in candidates:
        if digest_of(content) == known.sha256:
            return _of_content(known.name, content, origin)
    return None


def _untrusted(where: str, missing: Sequence[Pinned], files: Sequence[Path], how: str) -> BadInput:
    """The error for plugins that the user has neither given nor trained with."""
    expected = ", ".join(f"{known.name} with SHA-256 {known.sha256}" for known in missing)
    given = [f"{path} ({digest_of(content_of(path))[:_SHORT]}...)" for path in files]
    name = shlex.quote(missing[0].name)
    return BadInput(
        f"{where}: plugins: expected {expected}, given by you since you have not trained with it; "
        f"got {', '.join(given) or 'none'}; read it (mpifl show RUN --plugin-text {name}), save "
        f"it, then give it: {how}"
    )


# --- which names are known ----------------------------------------------------------------------


def use(entries: Any) -> None:
    """Make the names of these plugins known, of those that are loaded, and no other plugin's.

    `entries` is a list of NAME@SHA-256. What installed packages register is always known. Raises
    BadInput for a plugin that is not loaded.
    """
    for plugin in _in_use:
        _forget(plugin)
    _in_use.clear()
    if not isinstance(entries, list | tuple):
        return  # pydantic says what is wrong
    for package in plugin_code.packages():
        _take_into_use(package)
    for entry in entries:
        known = pinned(entry)
        if known is None:
            raise BadInput(
                f"plugins: expected NAME@SHA-256 in a config that is not read from a file; "
                f"got {entry!r}"
            )
        if known.sha256 not in _loaded:
            raise _untrusted("config", [known], (), IN_CONFIG)
        _take_into_use(_loaded[known.sha256])


def use_files(files: Sequence[Path]) -> None:
    """Load plugin files, and make their names known."""
    use(())
    for path in files:
        _take_into_use(file_plugin(path))


def _take_into_use(plugin: Plugin) -> None:
    if plugin in _in_use:
        return
    try:
        for entry in plugin.entries:
            entry.add()
    except BadInput as error:
        _forget(plugin)
        raise BadInput(f"plugins: {plugin.origin}: {error}") from None
    _in_use.append(plugin)


def _forget(plugin: Plugin) -> None:
    for entry in plugin.entries:
        entry.remove()


def in_use() -> list[Plugin]:
    """The plugins whose names are known now."""
    return list(_in_use)


def names_in(table: object) -> list[str]:
    """The names that the plugins in use have in a table."""
    found = []
    for plugin in _in_use:
        found += [entry.name for entry in plugin.entries if entry.kind.table is table]
    return found


def name_place(error: BaseException) -> None:
    """Add a note to an error that was raised in a plugin: which one, and the line."""
    names = {plugin.file: plugin.name for plugin in _loaded.values()}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in names:
            error.add_note(
                f"in plugin {names[frame.filename]}: {frame.filename}, line {frame.lineno}, "
                f"in {frame.name}"
            )
            return
