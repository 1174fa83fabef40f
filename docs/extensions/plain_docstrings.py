"""Docstrings are plain text: an indented paragraph is code, single backquotes are names."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_MARKUP = re.compile(r"[|*\\]|_(?!\w)")


def _escaped(line: str) -> str:
    """The line as text, except for the names in backquotes."""
    parts = line.split("`")
    parts[::2] = [_MARKUP.sub(r"\\\g<0>", text) for text in parts[::2]]
    return "`".join(parts)


def _mark_code(
    app: Sphinx, kind: str, name: str, subject: Any, options: Any, lines: list[str]
) -> None:
    """Put a directive before each indented paragraph; escape what would be markup in the others."""
    marked: list[str] = []
    inside = False
    for line in lines:
        is_indented = line.startswith("    ")
        if is_indented and not inside:
            marked += ["", ".. code-block:: text", ""]
        inside = is_indented or (inside and not line)
        marked.append(line if inside else _escaped(line))
    lines[:] = marked


def _drop_unknown_arguments(
    app: Sphinx, kind: str, name: str, subject: Any, options: Any, arguments: str, returned: str
) -> tuple[str, str] | None:
    """Options are given by name, as their list says; the class itself does not know them."""
    if arguments is not None and arguments.startswith("(*args"):
        return "", ""
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the reader of docstrings."""
    app.connect("autodoc-process-docstring", _mark_code)
    app.connect("autodoc-process-signature", _drop_unknown_arguments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
