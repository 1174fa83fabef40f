"""Links between the pages, and to files, lead somewhere (the site's build looks into docs/ too)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents.pages import PAGES, REPOSITORY, name

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
OTHERS = [REPOSITORY / "CHANGELOG.md", REPOSITORY / "VISION.md"]


def _anchors(page: Path) -> set[str]:
    """The headings of a page, as links to them are written."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name)
def test_every_link_to_a_file_or_heading_leads_to_one(page):
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{name(page)}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), f"{name(page)}: {link}"
