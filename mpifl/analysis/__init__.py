"""Analysis of finished runs: tables, curves, drift, features, curvature, landscapes.

What the commands `mpifl table`, `curves`, `features`, `hessian` and `landscape` do can be had from
Python too, as numpy arrays. Nothing here trains, and nothing writes into a run's own files.

    from mpifl.analysis import compare, group, open_runs
    groups = group(open_runs(["runs/avg-1", "runs/avg-2", "runs/man-1", "runs/man-2"]))
    compare(groups, target=0.9).rows

The public names below are imported when they are first used: torch comes with `reload_run`,
`features` and the Hessians, MPI with `RunOnRanks`, matplotlib and plotly with `figure` and `save`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpifl.lazy import exports

if TYPE_CHECKING:
    from mpifl.analysis.clients.agreement import agreement
    from mpifl.analysis.clients.drift import drift
    from mpifl.analysis.clients.features import features, subset
    from mpifl.analysis.export.long_tables import long_tables
    from mpifl.analysis.figures.matplotlib_figures import figure
    from mpifl.analysis.figures.panels import Panel, Trace
    from mpifl.analysis.figures.saving import save
    from mpifl.analysis.hessian.measurement import Measurement
    from mpifl.analysis.hessian.metrics import GLOBAL, disagreements, metrics
    from mpifl.analysis.hessian.panels import curvature_panels
    from mpifl.analysis.hessian.protocols import Exact, FedAlign
    from mpifl.analysis.landscape.plan import LandscapeOptions, LandscapePlan
    from mpifl.analysis.landscape.values import Landscape
    from mpifl.analysis.models.on_ranks import RunOnRanks
    from mpifl.analysis.models.reload import ReloadedRun, reload_run
    from mpifl.analysis.models.stored import StoredModel
    from mpifl.analysis.runs.comparison import Comparison, compare
    from mpifl.analysis.runs.curves import curve, curve_panels
    from mpifl.analysis.runs.groups import Group, group, open_runs, options
    from mpifl.analysis.runs.outcomes import outcome
    from mpifl.analysis.runs.paired import Pairing, compare_paired
    from mpifl.analysis.runs.series import series
    from mpifl.analysis.runs.table_formats import latex, markdown, rows
    from mpifl.store.measurements import Findings

__all__ = [
    "GLOBAL",
    "Comparison",
    "Exact",
    "FedAlign",
    "Findings",
    "Group",
    "Landscape",
    "LandscapeOptions",
    "LandscapePlan",
    "Measurement",
    "Pairing",
    "Panel",
    "ReloadedRun",
    "RunOnRanks",
    "StoredModel",
    "Trace",
    "agreement",
    "compare",
    "compare_paired",
    "curvature_panels",
    "curve",
    "curve_panels",
    "disagreements",
    "drift",
    "features",
    "figure",
    "group",
    "latex",
    "long_tables",
    "markdown",
    "metrics",
    "open_runs",
    "options",
    "outcome",
    "reload_run",
    "rows",
    "save",
    "series",
    "subset",
]

_HOMES = {
    "GLOBAL": "mpifl.analysis.hessian.metrics",
    "Comparison": "mpifl.analysis.runs.comparison",
    "Exact": "mpifl.analysis.hessian.protocols",
    "FedAlign": "mpifl.analysis.hessian.protocols",
    "Findings": "mpifl.store.measurements",
    "Group": "mpifl.analysis.runs.groups",
    "Landscape": "mpifl.analysis.landscape.values",
    "LandscapeOptions": "mpifl.analysis.landscape.plan",
    "LandscapePlan": "mpifl.analysis.landscape.plan",
    "Measurement": "mpifl.analysis.hessian.measurement",
    "Pairing": "mpifl.analysis.runs.paired",
    "Panel": "mpifl.analysis.figures.panels",
    "ReloadedRun": "mpifl.analysis.models.reload",
    "RunOnRanks": "mpifl.analysis.models.on_ranks",
    "StoredModel": "mpifl.analysis.models.stored",
    "Trace": "mpifl.analysis.figures.panels",
    "agreement": "mpifl.analysis.clients.agreement",
    "compare": "mpifl.analysis.runs.comparison",
    "compare_paired": "mpifl.analysis.runs.paired",
    "curvature_panels": "mpifl.analysis.hessian.panels",
    "curve": "mpifl.analysis.runs.curves",
    "curve_panels": "mpifl.analysis.runs.curves",
    "disagreements": "mpifl.analysis.hessian.metrics",
    "drift": "mpifl.analysis.clients.drift",
    "features": "mpifl.analysis.clients.features",
    "figure": "mpifl.analysis.figures.matplotlib_figures",
    "group": "mpifl.analysis.runs.groups",
    "latex": "mpifl.analysis.runs.table_formats",
    "long_tables": "mpifl.analysis.export.long_tables",
    "markdown": "mpifl.analysis.runs.table_formats",
    "metrics": "mpifl.analysis.hessian.metrics",
    "open_runs": "mpifl.analysis.runs.groups",
    "options": "mpifl.analysis.runs.groups",
    "outcome": "mpifl.analysis.runs.outcomes",
    "reload_run": "mpifl.analysis.models.reload",
    "rows": "mpifl.analysis.runs.table_formats",
    "save": "mpifl.analysis.figures.saving",
    "series": "mpifl.analysis.runs.series",
    "subset": "mpifl.analysis.clients.features",
}
"""where each public name is defined: imported when it is first asked for"""

__getattr__, __dir__ = exports(globals(), _HOMES)
