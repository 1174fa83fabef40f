"""On the site, each method of methods.md leads to its options."""

from __future__ import annotations

import re

from options_page import target
from sphinx.application import Sphinx

from mpifl.plan.reference import topics

_SECTION = re.compile(r"^The option `(\S+)`\.$")
_METHOD = re.compile(r"^### `([\w-]+)`$")


def _link(app: Sphinx, page: str, source: list[str]) -> None:
    """Add a link to the paragraph below each heading, where there is something to lead to."""
    if page != "methods":
        return
    known = {target(topic) for topic in topics()}
    path = ""
    lines = source[0].splitlines()
    for place, line in enumerate(lines):
        section, method = _SECTION.match(line), _METHOD.match(line)
        if section:
            path = section[1]
        elif method and (label := f"{path}-{method[1]}".replace(".", "-")) in known:
            lines[place + 2] += f" [Its options](#{label})."
    source[0] = "\n".join(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the reader of the page."""
    app.connect("source-read", _link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
