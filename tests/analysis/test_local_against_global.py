"""Local models against the global one: what follows from the table, by hand, and on a real run."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from analysis.small import make

from mpifl.analysis.figures.matplotlib_figures import figure
from mpifl.analysis.figures.plotly_figures import panel_figure
from mpifl.analysis.flatness.averaging import measure_averaging
from mpifl.analysis.flatness.cohort import choose_samples, cohort_of
from mpifl.analysis.flatness.comparison import (
    Averaging,
    Cell,
    LocalAgainstGlobal,
    comparisons,
)
from mpifl.analysis.flatness.panels import local_global_panels
from mpifl.analysis.hessian.measurement import Measurement
from mpifl.analysis.hessian.metrics import metrics, scalars
from mpifl.analysis.hessian.protocols import Exact
from mpifl.analysis.landscape.values import barrier_between
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.runs.table_formats import number
from mpifl.curvature import Curvature, dense
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator
from mpifl.store import Run

COMMUNICATOR = Communicator()


def cell(lambda_max: float, sharpness: float, loss: float = 0.0, trace: float = 5.0) -> Cell:
    return Cell(loss, 1.0, 0.0, lambda_max, 0.0, trace, 0.0, sharpness, 0.0)


def quadratics(received: tuple[float, float], whole: float) -> LocalAgainstGlobal:
    """Two clients with f_c = (v - b_c)' A_c (v - b_c) / 2, A diag(4, 1) and diag(1, 4), b (1, 0)
    and (-1, 0); y_c = b_c, p_c = 1/2, rho = 0.1. Losses on all data: 1 of y_1, 4 of y_2.
    """
    averaging = Averaging(1.25, np.array([1.0, 1.0]), np.array([1.0, 1.0]), np.zeros(2))
    return LocalAgainstGlobal(
        round=1,
        clients=[0, 1],
        shares=np.array([0.5, 0.5]),
        local=[cell(4, 0.02), cell(4, 0.02)],
        local_on_all=[cell(2.5, 0.1125, 1.0), cell(2.5, 0.4125, 4.0)],
        received=[cell(4, received[0]), cell(4, received[1])],
        whole=cell(2.5, whole),
        averaging=averaging,
    )


def test_inconsistency_gap_distance_and_gain_of_two_quadratics():
    found = quadratics((0.42, 0.105), 0.1625)  # w = 0, the mean of both
    assert found.inconsistency.value == pytest.approx(0.1)
    assert found.gap("sharpness").value == pytest.approx(0.1425)
    assert found.curvature_inconsistency.value == pytest.approx(1.5)
    assert found.gap("lambda_max").value == pytest.approx(-1.5)
    assert found.trace_difference.value == pytest.approx(0)
    assert found.distance == pytest.approx(1)
    assert found.averaging_gain == pytest.approx(-1.25)


def test_at_the_federations_minimum_the_inconsistency_is_that_of_the_gradients():
    found = quadratics((0.18, 0.165), 0.0125)  # w = (0.6, 0), where clients' gradients are 1.6
    assert found.inconsistency.value == pytest.approx(0.16)


def test_the_barrier_of_a_double_well():
    def well(points: int, tilt: float = 0.0) -> tuple[float, np.ndarray]:
        at = np.linspace(0, 1, points)
        x = 2 * at - 1
        loss = (x**2 - 1) ** 2 + tilt * x
        return barrier_between(at, loss), loss

    assert well(11)[0] == pytest.approx(1)
    assert well(10)[0] == pytest.approx(0.975461, abs=1e-6)
    height, loss = well(11, tilt=0.25)
    assert height == pytest.approx(1)
    assert loss.max() - max(loss[0], loss[-1]) == pytest.approx(0.75)


def measured(run: Run, **options) -> Measurement:
    """Round 2, local against global."""
    on_ranks = RunOnRanks(run, COMMUNICATOR, precision="float64")
    protocol = Exact(**{"samples": 0, "trace_tolerance": 0.02, **options})
    measurement = Measurement(on_ranks, protocol)
    cohort = cohort_of(on_ranks, 2, protocol)
    measurement.measure(measurement.tasks(cohort.cells()))
    measure_averaging(measurement, cohort)
    return measurement


@pytest.fixture
def surveyed(once, tmp_path) -> Run:
    """A copy of the tiny run and of what `measured` finds of it, which then does nothing again."""

    def survey(folder: Path) -> None:
        shutil.copytree(once("tiny-run", make), folder)
        measured(Run.open(folder))

    shutil.copytree(once("surveyed-run", survey), tmp_path / "run")
    return Run.open(tmp_path / "run")


@pytest.mark.slow
def test_every_cell_is_that_of_the_models_dense_hessian_on_these_samples(surveyed):
    measurement = measured(surveyed)
    [found] = comparisons(measurement.findings)
    cohort = cohort_of(measurement.on_ranks, 2, Exact(samples=0))
    assert found.clients == [0, 1, 2]
    assert found.shares == pytest.approx([30 / 90] * 3)
    cells = [found.whole]
    for client in range(3):
        cells += [found.local[client], found.received[client], found.local_on_all[client]]
    for model, of_model in zip(cohort.cells(), cells, strict=True):
        measured_model = measurement.model(model)
        H = dense(Curvature(measured_model.objective("test"), measured_model.w))
        assert of_model.lambda_max == pytest.approx(torch.linalg.eigvalsh(H)[-1].item(), rel=2e-3)
        assert abs(of_model.trace - H.trace()) < 4 * of_model.trace_error + 1e-9
        assert of_model.sharpness > 0.05 * of_model.gradient_norm * 0.9
    # The loss and the Hessian on all data are the means over clients of those on their own.
    assert found.mean(found.received, "loss") == pytest.approx(found.whole.loss)
    assert found.inconsistency.value > 0
    assert found.curvature_inconsistency.value > 0
    assert abs(found.trace_difference.value) < 4 * found.trace_difference.error


@pytest.mark.slow
def test_the_mean_of_the_clients_models_is_fedavgs_global_model(surveyed):
    measurement = measured(surveyed)
    [found] = comparisons(measurement.findings)
    ids, weights, _ = surveyed.client_weights(2)
    w, _ = surveyed.weights(2)
    far = np.linalg.norm(weights.astype("f8") - w, axis=1)
    assert ids.tolist() == found.clients
    assert found.averaging.distance == pytest.approx(far, rel=1e-5)
    assert found.distance == pytest.approx(float(np.sqrt((far**2).mean())), rel=1e-4)
    assert found.averaging.mean_loss == pytest.approx(found.whole.loss, rel=1e-4)
    assert (found.averaging.barrier >= 0).all()


def test_measured_twice_nothing_is_done_again_and_other_findings_do_not_see_it(surveyed):
    measurement = measured(surveyed)
    cohort = cohort_of(measurement.on_ranks, 2, Exact(samples=0))
    assert measurement.tasks(cohort.cells()) == []
    said = []
    measure_averaging(measurement, cohort, lambda label, finding: said.append(label))
    assert said == []
    assert metrics(measurement.findings) == []
    assert "H_T" not in scalars(measurement.findings)


def test_a_choice_of_samples_keeps_the_clients_shares(run):
    own, together, sizes = choose_samples(run, [0, 1, 2], Exact(samples=30))
    assert [len(samples.indices) for samples in own] == [10, 10, 10]
    assert sizes.tolist() == [30, 30, 30]
    chosen = np.sort(np.concatenate([samples.indices for samples in own]))
    assert together.indices.tolist() == chosen.tolist()
    for client, samples in enumerate(own):
        assert set(samples.indices) <= set(run.part(client))


def test_too_few_samples_for_all_clients_are_refused(run):
    with pytest.raises(BadInput, match="--samples: expected enough for some of each client's"):
        choose_samples(run, [0, 1, 2], Exact(samples=2))


@pytest.mark.slow
def test_the_command_prints_the_table_and_what_follows(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, said, _ = command("hessian", str(run.path), "--local-against-global", "--samples", "30")
    assert code == 0
    said = " ".join(said.split())
    assert "round 2: local models against the global one" in said
    for row in ("client 0", "clients' mean", "global", "inconsistency", "gain"):
        assert row in said
    assert re.search(
        r"round λ gap trace gap flatness gap inconsistency of λ distance gain barrier", said
    )


MISTAKES = {
    ("--protocol", "fedalign"): "--local-against-global: expected --protocol exact; got",
    ("--split", "test"): "--local-against-global: expected --split train; got --split test",
    ("--data", "global"): "--local-against-global: expected no --data; got --data global",
    ("--quantities", "layers"): "--local-against-global: expected no --quantities",
    ("--rounds", "1"): "expected rounds stored with their clients' models",
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_what_does_not_go_with_it_is_one_line(run, command, words):
    code, _, heard = command("hessian", str(run.path), "--local-against-global", *words)
    assert code == 2
    assert MISTAKES[words] in heard
    assert heard.count("\n") == 1


def test_the_picture_has_a_point_for_each_client_and_a_line_where_both_are_equal(surveyed):
    [found] = comparisons(measured(surveyed).findings)
    top, trace, sharp = local_global_panels([found], "tiny")
    assert [panel.y_title for panel in (top, trace, sharp)] == ["λ_max", "trace H_T", "sharpness"]
    on_all, received, whole = top.traces
    assert on_all.x.tolist() == [cell.lambda_max for cell in found.local]
    assert on_all.values.tolist() == [[cell.lambda_max for cell in found.local_on_all]]
    assert received.values.tolist() == [[cell.lambda_max for cell in found.received]]
    assert set(whole.values[0]) == {found.whole.lambda_max}
    assert top.diagonal
    assert not top.line
    assert on_all.texts == [["client 0", "client 1", "client 2"]]
    assert "client 1" in str(panel_figure(top)["data"])
    assert len(figure([top]).axes[0].lines) == 4


def test_several_rounds_are_also_drawn_as_means_over_clients(surveyed):
    [found] = comparisons(measured(surveyed).findings)
    panels = local_global_panels([replace(found, round=1), found], "tiny")
    assert len(panels) == 6
    assert [trace.x.tolist() for trace in panels[0].traces] == [[1, 2]] * 4
    assert panels[2].traces[3].values[0, 1] == found.mean(found.local, "sharpness")


@pytest.mark.slow
def test_the_drawing_command_prints_and_draws_it_and_refuses_more_than_one_run(
    run, command, tmp_path
):
    words = ["--local-against-global", "-o", "l.png", "-o", "l.html", "-o", "l.csv"]
    code, _, heard = command("curvature", str(run.path), *words)
    assert (code, "made by `mpifl hessian" in heard) == (2, True)
    measured(run)
    code, said, _ = command("curvature", str(run.path), *words)
    assert code == 0
    assert "local models against the global one" in " ".join(said.split())
    assert (tmp_path / "l.png").stat().st_size > 10_000
    assert "client 2" in (tmp_path / "l.html").read_text()
    code, _, heard = command("curvature", "avg-1", "avg-2", *words)
    assert (code, "expected one run; got 2" in heard) == (2, True)


def test_show_tells_what_was_measured_of_the_last_round(surveyed, command):
    [found] = comparisons(measured(surveyed).findings)
    code, said, _ = command("show", str(surveyed.path))
    assert code == 0
    said = " ".join(said.split())
    local = number(found.mean(found.local, "lambda_max"))
    assert f"local against global λ_max of the clients' models {local}" in said
    assert f"inconsistency {number(found.inconsistency.value)} (round 2)" in said


def test_a_table_of_runs_has_columns_of_it_beside_the_accuracy(surveyed, command):
    [found] = comparisons(measured(surveyed).findings)
    columns = "final,lambda_max_local,lambda_max_global,flatness_gap,inconsistency"
    code, said, _ = command("table", str(surveyed.path), "--columns", columns)
    assert code == 0
    row = said.splitlines()[2]
    for value in (
        found.mean(found.local, "lambda_max"),
        found.whole.lambda_max,
        found.gap("sharpness").value,
        found.inconsistency.value,
    ):
        assert number(value) in row
    assert "inconsistency: its mean sharpness on each client's samples" in said
