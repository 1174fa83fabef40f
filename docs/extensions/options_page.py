"""The directive `{options}`: every option of a config, as `mpifl explain` knows it."""

from __future__ import annotations

from collections.abc import Iterable

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mpifl.plan.reference import Option, Topic, topics


def _lines(topic: Topic) -> Iterable[str]:
    """A topic in Markdown."""
    yield f"## `{topic.title}`" if topic.path else "## the config itself"
    yield ""
    yield "```text"
    yield from topic.text.splitlines()
    yield "```"
    yield ""
    if topic.options:
        yield "| option | default | allowed | meaning |"
        yield "|---|---|---|---|"
        yield from map(_row, topic.options)
        yield ""


def _row(option: Option) -> str:
    meaning = " ".join(option.meaning.split())
    cells = [_code(option.name), _code(option.default), option.allowed, meaning]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


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
