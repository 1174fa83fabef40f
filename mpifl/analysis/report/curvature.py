"""Curvature: a table of methods, eigenvalues by round, spectra, and local against global."""

from __future__ import annotations

from collections.abc import Sequence

from mpifl.analysis.flatness.comparison import LocalAgainstGlobal, comparisons
from mpifl.analysis.flatness.panels import local_global_panels
from mpifl.analysis.flatness.report import estimate
from mpifl.analysis.hessian.metrics import GLOBAL, metrics
from mpifl.analysis.hessian.panels import curvature_panels
from mpifl.analysis.report import blocks, figures
from mpifl.analysis.report.blocks import Section
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.report.scores import columns_table
from mpifl.analysis.runs.comparison import Comparison
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.published import CURVATURE
from mpifl.options import BadInput
from mpifl.store import Run

_MOST_COMPARED = 3
"""runs whose clients are drawn against the global model: of the first groups"""
_CAPTIONS = {
    "largest": "The sharpest direction of the training loss at the global model: lower is flatter.",
    "trace": "The sum of all eigenvalues of the Hessian: curvature over all directions together.",
    "density": (
        "How the eigenvalues are spread, on a logarithmic scale: a bulk near 0 and few large ones "
        "far to the right are usual; a shorter tail is a flatter minimum."
    ),
}
_CLIENTS = (
    "A point is a client: across, its own model on its own data; up, models on other data. Points "
    "above the dotted line are flat for the client and less flat there."
)
_BY_ROUND = (
    "Means over clients by round: where the lines part, what is flat for clients is not flat for "
    "the federation."
)


def curvature(compared: Compared, comparison: Comparison) -> Section:
    """The table, and the panels of the groups that were measured."""
    section = Section("curvature", "Curvature")
    table = columns_table(
        comparison,
        CURVATURE,
        "Curvature of the last measured models: λ_max is the largest eigenvalue of the Hessian, "
        "H_T its trace, H_N and H_D how far the clients' Hessians differ in norm and direction.",
    )
    measured = compared.parts_where(lambda run: _is_measured(compared, run))
    drawn = []
    for panel in _panels(measured):
        if panel.x_title == "round" and all(len(trace.x) == 1 for trace in panel.traces):
            continue  # the table has these numbers
        what = panel.y_title.split()[0]
        title = panel.y_title[0].upper() + panel.y_title[1:]
        if panel.title:
            title += f", {panel.title}"
        drawn.append(compared.charted(panel, title, _CAPTIONS.get(what, "")))
    if table:
        section.parts.append(table)
    if drawn:
        head = compared.legend(measured) + compared.note_of_parts(measured)
        section.parts += [head, blocks.charts(drawn)]
    return section


def local_against_global(compared: Compared) -> Section:
    """A row for each run that was compared, and figures of the first run of the first groups."""
    section = Section("local-global", "Local against global")
    rows = []
    drawn: list[str] = []
    for group in compared.groups:
        first = True
        for run in group.runs:
            found = _compared_rounds(compared, run)
            if not found:
                continue
            name = f"{group.label}, seed {run.seed}"
            rows.append(_row(name, found[-1]))
            if first and len(drawn) < _MOST_COMPARED:
                drawn.append(blocks.charts(_charts(found, name), across=3))
            first = False
    if rows:
        heads = (
            "run",
            "round",
            "λ_max clients",
            "λ_max global",
            "λ gap",
            "flatness gap",
            "inconsistency",
            "distance",
            "gain of averaging",
            "barrier",
        )
        caption = (
            "Is what is flat for a client flat for all? Gaps are the global model on all data "
            "minus the clients' models on their own: above 0, the federation has it less flat."
        )
        section.parts = [blocks.table(heads, rows, caption), *drawn]
    return section


def _is_measured(compared: Compared, run: Run) -> bool:
    findings = compared.findings.get(run.run_id)
    if findings is None:
        return False
    return any(row.client == GLOBAL for row in metrics(findings))


def _panels(groups: Sequence[Group]) -> Sequence:
    try:
        return curvature_panels(groups) if groups else []
    except BadInput:  # the runs of a group were measured at no common round
        return []


def _compared_rounds(compared: Compared, run: Run) -> list[LocalAgainstGlobal]:
    findings = compared.findings.get(run.run_id)
    return [] if findings is None else comparisons(findings)


def _row(name: str, found: LocalAgainstGlobal) -> list[str]:
    return [
        name,
        str(found.round),
        f"{found.mean(found.local, 'lambda_max'):.4g}",
        f"{found.whole.lambda_max:.4g}",
        estimate(found.gap("lambda_max")),
        estimate(found.gap("sharpness")),
        estimate(found.inconsistency),
        f"{found.distance:.3g}",
        f"{found.averaging_gain:.3g}",
        f"{found.barrier:.3g}",
    ]


def _charts(found: Sequence[LocalAgainstGlobal], name: str) -> list[str]:
    drawn = []
    for panel in local_global_panels(found, name):
        caption = _CLIENTS if panel.diagonal else _BY_ROUND
        title = f"{panel.y_title}, {name}, {panel.title}"
        drawn.append(blocks.chart(figures.of_its_own(panel), title, caption))
    return drawn
