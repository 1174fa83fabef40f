"""On the site, each name in the tables of methods.md leads to its formula and options."""

from __future__ import annotations

import re

from options_page import target
from sphinx.application import Sphinx

from mpifl.plan.reference import topics

_SECTION = re.compile(r"^`(\S+)`$")
_ROW = re.compile(r"^\| `(\w+)` \|")


def _link(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn the first cell of each row into a link, where there is something to lead to."""
    if page != "methods":
        return
    known = {target(topic) for topic in topics()}
    path = ""
    lines = source[0].splitlines()
    for place, line in enumerate(lines):
        section, row = _SECTION.match(line), _ROW.match(line)
        if section:
            path = section[1]
        elif row and (label := f"{path}-{row[1]}".replace(".", "-")) in known:
            lines[place] = f"| [`{row[1]}`](#{label}) |{line[row.end() :]}"
    source[0] = "\n".join(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the reader of the page."""
    app.connect("source-read", _link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
