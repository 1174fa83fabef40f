"""The site of `make docs`: it is built without a warning, every link in it leads somewhere, and
nothing is loaded from a network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from documents.pages import REPOSITORY

_ID = re.compile(r'\s(?:id|name)="([^"]+)"')
_LINK = re.compile(r'<a\s[^>]*?href="([^"]*)"')
_LOADED = re.compile(r'<(?:img|script|link|iframe)\s[^>]*?(?:src|href)="([^"]*)"')
_ELSEWHERE = re.compile(r"[a-z]+:|//")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(once):
    """The text of each page of the site, which is built; those with the source code of modules left
    out.
    """
    pytest.importorskip("myst_parser", reason="needs the extra docs")
    texts = {}
    for path in once("site", build).rglob("*.html"):
        if "_modules" not in path.parts and "_static" not in path.parts:
            texts[path] = path.read_text("utf-8")
    return texts


def build(site: Path) -> None:
    options = ["-q", "-W", "--keep-going", "-d", str(site / ".doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, "docs", str(site)]
    built = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


def test_every_link_leads_to_a_page_and_to_an_anchor_on_it(pages):
    anchors = {path: set(map(unescape, _ID.findall(text))) for path, text in pages.items()}
    lost = []
    for page, text in pages.items():
        for link in map(unescape, _LINK.findall(text)):
            if _ELSEWHERE.match(link):
                continue
            path, _, anchor = link.partition("#")
            target = Path(os.path.normpath(page.parent / unquote(path))) if path else page
            if not target.exists():
                lost.append(f"{page.name}: {link}")
            if anchor and target in anchors and unquote(anchor) not in anchors[target]:
                lost.append(f"{page.name}: {link}")
    assert not lost


def test_no_page_loads_anything_from_a_network(pages):
    for page, text in pages.items():
        for link in map(unescape, _LOADED.findall(text)):
            path = link.partition("?")[0].partition("#")[0]
            assert link.startswith("data:") or not _ELSEWHERE.match(link), f"{page}: {link}"
            assert link.startswith("data:") or (page.parent / path).exists(), f"{page}: {link}"
