"""The directives `{options}` and `{option-names}`: what `mpifl explain` knows of a config."""

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
        yield "{.options}"
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


def _named(path: str) -> list[Topic]:
    """The names that an option may have; of no option the sections of a config."""
    return [topic for topic in topics() if path == (topic.path if topic.name else "")]


def _index(path: str) -> str:
    """Links to what the page has of an option, for readers who know what they look for."""
    links = []
    for topic in _named(path):
        word = topic.name or topic.path or "no section"
        links.append(f"[`{word}`](#{target(topic)})")
    return f"`{path}`: {' · '.join(links)}" if path else " · ".join(links)


class OptionNames(SphinxDirective):
    """Links to the names of the options in the argument; without one to the sections."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n\n".join(_index(path) for path in _paths(self)))


class Options(OptionNames):
    """Them all, each under a heading of its own."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for path in _paths(self):
            for topic in _named(path):
                lines += _lines(topic)
        self.content = StringList(lines, source="mpifl explain")
        return self.parse_content_to_nodes(allow_section_headings=True)


def _paths(directive: SphinxDirective) -> list[str]:
    """The options in the argument of a directive, the empty one if there is none."""
    paths = directive.arguments[0].split() if directive.arguments else [""]
    for path in paths:
        if not _named(path):
            raise directive.error(f"expected an option whose values have names; got {path}")
    return paths


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("option-names", OptionNames)
    app.add_directive("options", Options)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
