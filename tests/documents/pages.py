"""Pages in Markdown, notebooks, and the blocks of code in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *(REPOSITORY / folder / "README.md" for folder in ("analysis", "configs", "jobs")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "analysis").glob("*.ipynb")),
]
"""all pages whose blocks are tested"""

LANGUAGES = ("bash", "python", "toml", "text")
"""bash and python run, toml is read as a config, text is output; no block goes without a name"""

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?"
    r"^(?P<marks>`{3,})(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=marks)$",
    re.DOTALL | re.MULTILINE,
)
_FILE = re.compile(r"# ([\w-]+\.(?:py|toml))\b")


class Block(NamedTuple):
    """A block of code."""

    place: str
    """page and line, for messages"""
    language: str
    text: str
    reason: str
    """why it is not run; empty if it is"""

    @property
    def file(self) -> str:
        """The file that the block is the content of: its first line is `# NAME.py` or `.toml`."""
        named = _FILE.match(self.text)
        return named[1] if named else ""


def name(page: Path) -> str:
    """The page's path in the repository."""
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, from top to bottom, without the generator's directives, `{NAME}`."""
    if page.suffix == ".ipynb":
        return _cells(page)
    text = page.read_text(encoding="utf-8")
    found = [_block(page, text, fence) for fence in _FENCE.finditer(text)]
    return [block for block in found if not block.language.startswith("{")]


def _cells(page: Path) -> list[Block]:
    """The cells of a notebook that are code."""
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    return [
        Block(f"{name(page)}, cell {place}", "python", "".join(cell["source"]), "")
        for place, cell in enumerate(cells)
        if cell["cell_type"] == "code"
    ]


def _block(page: Path, text: str, found: re.Match[str]) -> Block:
    line = text.count("\n", 0, found.start("marks")) + 1
    language = found["language"].strip()
    return Block(f"{name(page)}:{line}", language, found["text"], found["reason"] or "")
