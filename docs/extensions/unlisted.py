"""Pages that index.md does not list are listed at its end, so that no page is out of reach.

Those in folders are listed by the page of the folder's name.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_LISTS = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _add(app: Sphinx, page: str, source: list[str]) -> None:
    """Append a list to the text of the root page."""
    if page != app.config.root_doc:
        return
    listed = {line.strip() for text in _LISTS.findall(source[0]) for line in text.splitlines()}
    others = sorted(name for name in app.env.found_docs - listed - {page} if "/" not in name)
    if others:
        source[0] += "\n```{toctree}\n:maxdepth: 1\n:caption: More\n\n"
        source[0] += "\n".join(others) + "\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the reader of the root page."""
    app.connect("source-read", _add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
