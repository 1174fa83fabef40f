"""Pictures of what `mpifl hessian` has measured: numbers by round, and spectra."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mpifl.analysis.figures.matplotlib_figures import figure
from mpifl.analysis.figures.plotly_figures import panel_figure
from mpifl.analysis.hessian.panels import curvature_panels
from mpifl.analysis.runs.groups import Group
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Finding, Findings

GRID = np.array([-1.0, 0.0, 1.0, 2.0])
DENSITY = np.array([0.0, 1.0, 1e-9, 0.5])


def measure(run: Run, tops: dict[int, float], spectrum: bool = True) -> None:
    """Store a largest eigenvalue by round, ten times that as the trace, and a spectrum."""
    findings = Findings.open(run)
    findings.begin("exact", {"protocol": "exact"})
    for round, top in tops.items():
        model = f"exact/round_{round:06d}/global"
        values = {"values": np.array([top, 1.0]), "errors": np.array([0.25, 0.1])}
        findings.add(f"{model}/eigenvalues", Finding(values))
        findings.add(f"{model}/trace", Finding({"trace": np.array(10 * top)}))
        if spectrum:
            findings.add(f"{model}/spectrum", Finding({"grid": GRID, "density": DENSITY}))


@pytest.fixture
def copies(folder, tmp_path):
    """Copies of two runs of one method, to measure."""
    for name in ("avg-1", "avg-2"):
        shutil.copytree(folder / name, tmp_path / name)
    return [Run.open(tmp_path / "avg-1"), Run.open(tmp_path / "avg-2")]


def test_the_largest_eigenvalue_and_the_trace_are_drawn_by_round(copies):
    measure(copies[0], {2: 10.0, 4: 14.0})
    measure(copies[1], {2: 12.0, 3: 99.0, 4: 18.0})
    top, trace, _ = curvature_panels([Group("avg", copies)])
    [line] = top.traces
    assert (top.x_title, top.y_title) == ("round", "largest eigenvalue λ_max")
    assert line.x.tolist() == [2, 4], "rounds that both runs have"
    assert line.values.tolist() == [[10, 14], [12, 18]]
    assert trace.traces[0].mean.tolist() == [110, 160]
    drawn = figure([top]).axes[0].lines[0]
    assert drawn.get_ydata().tolist() == [11, 16]


def test_hovering_a_single_run_reads_the_error_of_its_eigenvalue(copies):
    measure(copies[0], {4: 14.0})
    top, _, _ = curvature_panels([Group("avg", copies[:1])])
    [drawn] = panel_figure(top)["data"]
    assert drawn["text"] == ["14 ± 0.25"]
    assert "largest eigenvalue λ_max %{text}<br>round" in drawn["hovertemplate"]
    assert "avg-1, seed 1" in drawn["hovertemplate"]


def test_the_spectrum_is_that_of_the_last_shared_round_with_gaps_between_eigenvalues(copies):
    measure(copies[0], {2: 10.0, 4: 14.0})
    *_, spectrum = curvature_panels([Group("avg", copies[:1])])
    [line] = spectrum.traces
    assert spectrum.title == "round 4"
    assert spectrum.log
    assert line.x.tolist() == GRID.tolist()
    assert line.values[0].tolist() == pytest.approx([np.nan, 1.0, np.nan, 0.5], nan_ok=True)
    axis = panel_figure(spectrum)["layout"]["yaxis"]
    assert axis["type"] == "log"
    assert axis["ticktext"] == ["0.4", "0.6", "0.8", "1"]


def test_spectra_of_several_runs_are_averaged_at_common_eigenvalues(copies):
    for run in copies:
        measure(run, {4: 14.0})
    *_, spectrum = curvature_panels([Group("avg", copies)])
    [line] = spectrum.traces
    assert line.values.shape == (2, 400)
    assert np.nanmax(line.mean) == pytest.approx(1, abs=0.01)


def test_without_spectra_only_the_numbers_are_drawn(copies):
    measure(copies[0], {4: 14.0}, spectrum=False)
    titles = [panel.y_title for panel in curvature_panels([Group("avg", copies[:1])])]
    assert titles == ["largest eigenvalue λ_max", "trace H_T"]


def test_a_run_that_was_not_measured_is_refused_with_the_command_that_measures_it(copies):
    with pytest.raises(BadInput, match="expected measurement 'exact', made by `mpifl hessian .*"):
        curvature_panels([Group("avg", copies)])


def test_runs_measured_at_different_rounds_are_refused(copies):
    measure(copies[0], {2: 10.0})
    measure(copies[1], {4: 10.0})
    with pytest.raises(BadInput, match="avg: expected a round at which all runs were measured"):
        curvature_panels([Group("avg", copies)])


@pytest.mark.slow
def test_the_command_draws_a_picture_a_page_and_the_numbers(copies, command, tmp_path):
    measure(copies[0], {2: 10.0, 4: 14.0})
    words = ["-o", "c.png", "-o", "c.html", "-o", "c.csv"]
    code, said, _ = command("curvature", str(copies[0].path), *words)
    assert code == 0
    assert said == "written to c.png\nwritten to c.html\nwritten to c.csv\n"
    with open(tmp_path / "c.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "trace H_T"]
    assert [(row["x"], row["value"]) for row in rows] == [("2.0", "100.0"), ("4.0", "140.0")]
    code, _, heard = command("curvature", str(copies[1].path))
    assert (code, heard.splitlines()[-1].startswith("mpifl: ")) == (2, True)


def test_a_scaled_trace_has_scaled_errors(copies):
    measure(copies[0], {4: 14.0})
    [line] = curvature_panels([Group("avg", copies[:1])])[0].traces
    assert replace(line).scaled(1, 2).errors.tolist() == [[0.5]]
