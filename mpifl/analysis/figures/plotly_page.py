"""HTML pages of figures that plotly draws; they load nothing from elsewhere.

Such a page can be sent, kept, and opened offline. Hover to read numbers, drag to zoom; on the page
of panels a click on a name hides its lines in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.io as pio
from plotly.offline import get_plotlyjs

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.panels import Band, Panel, in_words
from mpifl.analysis.figures.plotly_figures import map_figure, panel_figure
from mpifl.analysis.figures.plotly_theme import Figure, look

_STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.4 system-ui, sans-serif; color: #222; background: #fff;
       margin: 1.2em auto; padding: 0 12px; max-width: 1200px; }
h1 { font-size: 1.3em; margin: 0 0 .6em; overflow-wrap: anywhere; }
p { margin: .4em 0; color: #444; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 6px; }
.legend button { display: flex; align-items: center; gap: 6px; font: inherit; color: inherit;
                 text-align: left; overflow-wrap: anywhere; background: none; cursor: pointer;
                 border: 1px solid transparent; border-radius: 4px; padding: 3px 6px; }
.legend button:hover, .legend button:focus-visible { border-color: #999; }
.legend button[aria-pressed=false] { opacity: .4; text-decoration: line-through; }
.legend svg { flex: none; }
.figures { display: grid; gap: 12px; margin-top: 12px;
           grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); }
.figures > * { min-width: 0; margin: 0; height: 310px; }
.figures > .solid { height: min(480px, 105vw); }
.figures > .tall { height: 360px; }
@media (min-width: 800px) {
  .figures.wide { grid-template-columns: 1fr 1fr; }
  .figures.wide > * { height: 420px; }
}
"""

_SCRIPT = """
const resized = new ResizeObserver(cells => {
  for (const cell of cells) Plotly.Plots.resize(cell.target.querySelector(".plotly-graph-div"));
});
for (const cell of document.querySelectorAll(".figures > figure")) resized.observe(cell);
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") === "false";
    button.setAttribute("aria-pressed", String(shown));
    for (const figure of document.querySelectorAll(".plotly-graph-div")) {
      const places = [];
      figure.data.forEach((trace, place) => {
        if (trace.legendgroup === button.dataset.group) places.push(place);
      });
      if (places.length) Plotly.restyle(figure, {visible: shown}, places);
    }
  });
}
if (matchMedia("(pointer: coarse)").matches) {  // a finger scrolls the page instead of zooming
  for (const figure of document.querySelectorAll(".plotly-graph-div"))
    if (!figure.layout.scene) Plotly.relayout(figure, {dragmode: false});
}
"""

_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d"],
    "plotlyServerURL": "",  # nothing is sent anywhere
}
_STROKES = {"solid": "", "dash": "6 3", "dot": "2 2", "dashdot": "6 2 2 2"}


def page(panels: Sequence[Panel | HeatMap], title: str, band: Band = "std") -> str:
    """The page of the panels and maps: means, bands over runs, and each run as a faint line."""
    figures = []
    for panel in panels:
        if isinstance(panel, HeatMap):
            figures.append(map_figure(panel))
        else:
            figures.append(panel_figure(panel, band))
    words = in_words(panels, band)
    lines = f"{words}; faint: each run" if words else ""
    parts = [note(lines), grid(figures)]
    if isinstance(panels[0], Panel):
        parts.insert(0, legend([trace.label for trace in panels[0].traces]))
    return document(title, *parts)


def document(title: str, *parts: str) -> str:
    """A page of `parts` in HTML, such as `legend`, `note` and `grid` return, under its title."""
    name = escape(title)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}</title>",
            f"<style>{_STYLE}</style>",
            f"<script>{get_plotlyjs()}</script>",
            f"<h1>{name}</h1>",
            *parts,
            f"<script>{_SCRIPT}</script>",
            "</html>",
        ]
    )


def legend(labels: Sequence[str]) -> str:
    """The names of the groups, each a button that hides and shows its lines in all figures."""
    buttons = []
    for number, label in enumerate(labels):
        line = look(number)
        stroke = f'stroke="{line["color"]}" stroke-dasharray="{_STROKES[line["dash"]]}"'
        swatch = f'<path d="M0 5H26" stroke-width="2.5" {stroke}/>'
        buttons.append(
            f'<button type="button" data-group="{number}" aria-pressed="true">'
            f'<svg width="26" height="10" aria-hidden="true">{swatch}</svg>{escape(label)}</button>'
        )
    return f'<div class="legend">{"".join(buttons)}</div>'


def note(text: str) -> str:
    """A line of text; nothing for no text."""
    return f"<p>{escape(text)}</p>" if text else ""


def grid(figures: Sequence[Figure], wide: bool = False) -> str:
    """Figures side by side as the screen has room, at most two where they are `wide`."""
    cells = [f'<figure class="{_kind(figure)}">{_drawn(figure)}</figure>' for figure in figures]
    return f'<div class="{"figures wide" if wide else "figures"}">{"".join(cells)}</div>'


def _kind(figure: Figure) -> str:
    """How high a figure is: `solid` in three dimensions, `tall` with a legend of its own."""
    if "scene" in figure["layout"]:
        return "solid"
    return "tall" if figure["layout"].get("showlegend") else "plane"


def _drawn(figure: Figure) -> str:
    return pio.to_html(
        figure, full_html=False, include_plotlyjs=False, config=_CONFIG, default_height="100%"
    )
