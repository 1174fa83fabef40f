"""The report of groups of runs: all sections in order, and the page around them."""

from __future__ import annotations

from collections.abc import Sequence

from mpifl.analysis.figures.panels import Band
from mpifl.analysis.report import clients, costs, curvature, models, overview, scores, time_spent
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.report.missing import missing
from mpifl.analysis.report.page import page
from mpifl.analysis.report.provenance import provenance
from mpifl.analysis.runs.comparison import compare
from mpifl.analysis.runs.groups import Group

_MOST_NAMED = 4
"""methods in the title"""


def report(
    groups: Sequence[Group], title: str = "", band: Band = "std", target: float | None = None
) -> str:
    """One HTML page about the groups, which loads nothing from elsewhere.

    `target`: an accuracy (0..1) of which the cost is told; by default the highest whole percentage
    that every run has reached. Raises BadInput for a wrong target, and for runs without a test.
    """
    compared = Compared.of(groups, band, target)
    comparison = compare(groups, compared.target)
    sections = [
        overview.overview(compared),
        scores.scores(compared, comparison),
        scores.gaps(compared),
        clients.clients(compared),
        clients.classes(compared),
        clients.domains(compared),
        clients.partition(compared),
        costs.costs(compared, comparison),
        time_spent.time(compared),
        curvature.curvature(compared, comparison),
        curvature.local_against_global(compared),
        models.landscape(compared),
        models.features(compared),
        provenance(compared),
        missing(compared),
    ]
    return page(title or _title(compared.labels), overview.summary(compared), sections)


def _title(labels: Sequence[str]) -> str:
    if len(labels) <= _MOST_NAMED:
        return "; ".join(labels)
    named = "; ".join(labels[:_MOST_NAMED])
    return f"{named}; and {len(labels) - _MOST_NAMED} more"
