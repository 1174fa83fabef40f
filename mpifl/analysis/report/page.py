"""The report's page: plotly's script once, the styles, the contents and the sections.

The page loads nothing from elsewhere, and its policy (Content-Security-Policy) forbids it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from plotly.offline import get_plotlyjs

from mpifl.analysis.report.blocks import Section, text

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)


def page(title: str, summary: str, sections: Sequence[Section]) -> str:
    """The whole page; `summary` is a line below its title. Empty sections are left out."""
    shown = [section for section in sections if section.parts]
    links = []
    for section in shown:
        links.append(f'<li><a href="#{section.anchor}">{text(section.title)}</a></li>')
    name = text(title)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}</title>",
            f"<style>{_part('report.css')}</style>",
            f"<script>{get_plotlyjs()}</script>",
            "</head>",
            "<body>",
            '<a class="skip" href="#main">Skip to the report</a>',
            '<div class="page">',
            f"<header><div><h1>{name}</h1><p>{text(summary)}</p></div>",
            '<button type="button" id="theme" aria-pressed="false">Dark</button></header>',
            "<noscript><p>Figures need JavaScript; tables and texts do not.</p></noscript>",
            '<div class="columns">',
            f'<nav aria-label="Contents"><details open><summary>Contents</summary>'
            f"<ol>{''.join(links)}</ol></details></nav>",
            '<main id="main" tabindex="-1">',
            *(section.html() for section in shown),
            "</main></div></div>",
            f"<script>{_part('report.js')}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _part(name: str) -> str:
    return files("mpifl.analysis.report").joinpath(name).read_text(encoding="utf-8")
