"""Config files: TOML, laid over what `extends` names; paths that a config names."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

from mpifl import regular_files
from mpifl.config.older_versions import parse
from mpifl.config.overrides import lay_over
from mpifl.config.toml_text import DEEPEST, MOST_BYTES, check_length
from mpifl.options import BadInput

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


def read(path: Path) -> dict:
    """The raw config at `path`, laid over what it extends. Raises BadInput."""
    return _read(path, ())


def _read(path: Path, through: tuple[Path, ...]) -> dict:
    """`through`: the files that led here by `extends`."""
    path = Path(path)
    text = _text(path)
    if path.resolve() in through:
        raise BadInput(f"{path}: expected a chain of `extends` that ends; got a circle")
    raw = parse(text, str(path))
    if isinstance(raw.get("plugins"), list):
        raw["plugins"] = anchored(raw["plugins"], path)
    base = raw.pop("extends", None)
    if base is None:
        return raw
    if not isinstance(base, str):
        raise BadInput(f"{path}: extends: expected a path in quotes; got {base!r}")
    if "\0" in base or len(through) > DEEPEST:
        raise BadInput(
            f"{path}: extends: expected a path, and at most {DEEPEST} configs in a chain; "
            f"got {base!r}"
        )
    base_path = path.parent / expanded(base, f"{path}: extends")
    return lay_over(_read(base_path, (*through, path.resolve())), raw)


def anchored(plugins: list, config: Path) -> list:
    """The plugins that a config at `config` names: its files relative to the config's folder."""
    found = []
    for entry in plugins:
        if isinstance(entry, str) and is_file(entry):
            entry = str(config.parent / expanded(entry, f"{config}: plugins"))
        found.append(entry)
    return found


def is_file(plugin: str) -> bool:
    """Whether an entry of `plugins` is a file, not a module.

    >>> is_file("mine.py"), is_file("../mine"), is_file("some.module")
    (True, True, False)
    """
    return plugin.endswith(".py") or "/" in plugin


def expanded(text: str, where: str) -> Path:
    """A path that a config names, with `~` and $VARIABLES of this process's environment replaced.

    Raises BadInput that begins with `where` for a variable that is not set, or empty.
    """
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        if not os.environ.get(name):
            raise BadInput(
                f"{where}: expected variables that are set; got {text!r}, without {name}"
            )
    return Path(os.path.expanduser(os.path.expandvars(text)))


def _text(path: Path) -> str:
    try:
        with io.BufferedReader(regular_files.opened(path)) as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path}: expected a config file; got {error.strerror or error}") from None
    check_length(content, str(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path}: expected TOML text in UTF-8; got other bytes") from None
