"""Which plugins this user has trained with: a file for each, in the user's own state folder.

    ~/.local/state/mpifl/plugins/SHA-256 of the text      where it was loaded from

($XDG_STATE_HOME in place of ~/.local/state, where it is set.) A run folder that somebody has sent
cannot add to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from mpifl import regular_files
from mpifl.runner.plugin_code import Plugin
from mpifl.store import atomic

_MOST_BYTES = 1 << 16
_DIGEST = re.compile(r"[0-9a-f]{64}")


def remember(plugins: Iterable[Plugin]) -> str:
    """Note that the user trains with these plugins. Returns why it could not be noted, or ""."""
    for plugin in plugins:
        if recalled(plugin.sha256) == plugin.origin:
            continue
        try:
            folder = _folder()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.write(folder / plugin.sha256, plugin.origin.encode())
        except (OSError, RuntimeError) as problem:
            return str(problem)
    return ""


def recalled(sha256: str) -> str:
    """From where the user has trained with a plugin of this digest; "" if never."""
    if not _DIGEST.fullmatch(sha256):
        return ""
    try:
        return regular_files.content(_folder() / sha256, _MOST_BYTES).decode()
    except (OSError, RuntimeError, UnicodeDecodeError):
        return ""


def _folder() -> Path:
    """Raises RuntimeError where the user has no home folder."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = str(Path.home() / ".local" / "state")
    return Path(state) / "mpifl" / "plugins"
