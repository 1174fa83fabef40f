"""The directive `{options}`: every option of a config, as `mpifl explain` knows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import dedent

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mpifl.plan.reference import Option, Topic, topics

_MARKUP = re.compile(r"[\\*_\[\]<>#$|~]")


def target(topic: Topic) -> str:
    """What links to a topic are written to."""
    return f"{topic.path}-{topic.name}".strip("-").replace(".", "-") or "config"


def _lines(topic: Topic) -> Iterable[str]:
    """A topic in Markdown."""
    yield f"({target(topic)})="
    yield f"## `{topic.title}`" if topic.path else "## The config itself"
    yield ""
    for paragraph in topic.text.split("\n\n"):
        yield from _formula(paragraph) if paragraph.startswith("    ") else _prose(paragraph)
        yield ""
    if topic.options:
        yield "| option | default | allowed | meaning |"
        yield "|---|---|---|---|"
        yield from map(_row, topic.options)
        yield ""


def _formula(paragraph: str) -> Iterable[str]:
    """An indented paragraph, as it stands."""
    yield "```text"
    yield from dedent(paragraph).splitlines()
    yield "```"


def _prose(paragraph: str) -> Iterable[str]:
    """A paragraph whose signs are no markup, apart from names in backquotes."""
    parts = paragraph.split("`")
    parts[::2] = [_MARKUP.sub(r"\\\g<0>", text) for text in parts[::2]]
    yield from "`".join(parts).splitlines()


def _row(option: Option) -> str:
    meaning = " ".join(_prose(" ".join(option.meaning.split())))
    cells = [_code(option.name), _code(option.default), option.allowed, meaning]
    return "| " + " | ".join(cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


class Options(SphinxDirective):
    """All topics, each under a heading of its own."""

    def run(self) -> list[nodes.Node]:
        lines = [line for topic in topics() for line in _lines(topic)]
        self.content = StringList(lines, source="mpifl explain")
        return self.parse_content_to_nodes(allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("options", Options)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
