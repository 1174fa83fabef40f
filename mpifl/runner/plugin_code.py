"""Run the code of a plugin: a file's text, a module, or what an installed package offers.

Only here does mpifl run code that is not its own. Who may ask for it is decided in `plugins.py`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from mpifl import regular_files
from mpifl.options import BadInput
from mpifl.runner.register import Entry, gained, restore, snapshot

GROUP = "mpifl.plugins"
"""the entry points with which an installed package offers a module of plugins"""
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Plugin:
    """Code of somebody's own, and the names that it has registered."""

    name: str
    """of the file, the module (dotted) or the package"""
    origin: str
    """where it was loaded from: a path, or the name again"""
    file: str
    """the path of the code"""
    entries: tuple[Entry, ...]
    text: str = ""
    """of a file or a module"""
    sha256: str = ""
    """of the text, in hex"""
    version: str = ""
    """of a package"""


def digest_of(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def content_of(path: Path) -> bytes:
    """The bytes of a plugin file. Raises BadInput where there is none."""
    try:
        return regular_files.content(path, _MOST_BYTES)
    except OSError as error:
        raise BadInput(
            f"plugins: {path}: expected a Python file; got {error.strerror or error}"
        ) from None


def run_text(name: str, content: bytes, path: str) -> Plugin:
    """Run a plugin's text as a module whose file is `path`. Raises BadInput, in one line."""
    sha256 = digest_of(content)
    try:
        text = content.decode("utf-8")
        code = compile(content, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise BadInput(f"plugins: {path}, line {error.lineno}: {error.msg}") from None
    except ValueError as error:  # not UTF-8, or a NUL character
        raise BadInput(f"plugins: {path}: expected Python text in UTF-8; got: {error}") from None
    module = ModuleType(f"mpifl_plugin_{sha256[:12]}_{Path(name).stem}")
    module.__file__ = path
    lines = text.splitlines(keepends=True)
    linecache.cache[path] = len(text), None, lines, path  # tracebacks show the text that runs
    sys.modules[module.__name__] = module
    try:
        entries = _entries_of(path, lambda: exec(code, vars(module)))
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return Plugin(name, path, path, entries, text, sha256)


def import_module(name: str) -> Plugin:
    """Import a module by its dotted name. Raises BadInput, in one line."""
    entries = _entries_of_module(name, name)
    path = Path(str(sys.modules[name].__file__))
    if path.suffix != ".py" or path.name == "__init__.py":
        raise BadInput(
            f"plugins: {name}: expected a module in one Python file, whose text a run can store; "
            f"got {path.name}; name a module in it, or offer the package by an entry point "
            f"{GROUP!r}"
        )
    content = content_of(path)
    return Plugin(name, name, str(path), entries, content.decode("utf-8"), digest_of(content))


@cache
def packages() -> tuple[Plugin, ...]:
    """What installed packages offer by entry points; they are loaded once. Raises BadInput."""
    found = []
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.dist is None:
            continue
        name, version = point.dist.name, point.dist.version
        entries = _entries_of_module(f"{name} {version}, entry point {point.name}", point.module)
        found.append(Plugin(name, name, "", entries, version=version))
    return tuple(found)


def _entries_of_module(where: str, name: str) -> tuple[Entry, ...]:
    """The names that a module registers, or has registered when somebody imported it before."""
    if name not in sys.modules:
        return _entries_of(where, lambda: importlib.import_module(name))
    entries = []
    for entry in gained([{} for _ in snapshot()]):
        value = getattr(entry.value, "loader", entry.value)
        if f"{value.__module__}.".startswith(f"{name}."):
            entries.append(entry)
    _refuse_nothing(where, entries)
    return tuple(entries)


def _entries_of(where: str, load: Callable[[], object]) -> tuple[Entry, ...]:
    """The names that a plugin registers while it is loaded; the tables stay as they were."""
    before = snapshot()
    try:
        with _one_line(where):
            load()
            entries = tuple(gained(before))
    finally:
        restore(before)
    _refuse_nothing(where, entries)
    return entries


def _refuse_nothing(where: str, entries: Sequence[Entry]) -> None:
    if not entries:
        raise BadInput(
            f"plugins: {where}: expected that it registers something (@mpifl.register); got nothing"
        )


@contextmanager
def _one_line(where: str) -> Iterator[None]:
    """What a plugin raises while it is loaded, as BadInput that names the file and the line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        place = where
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == where:
                place = f"{where}, line {frame.lineno}"
        what = str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
        raise BadInput(f"plugins: {place}: {what}") from error
