"""Tables: what came of each group, beside the published numbers, in three formats."""

import csv
import io
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from damage import cut

from mpifl.analysis.flatness.comparison import Averaging, Cell, LocalAgainstGlobal
from mpifl.analysis.runs.comparison import compare
from mpifl.analysis.runs.groups import Group, group
from mpifl.analysis.runs.outcomes import outcome
from mpifl.analysis.runs.published import published
from mpifl.analysis.runs.series import series
from mpifl.analysis.runs.table_formats import FORMATS, latex, markdown, rows
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Finding, Findings


def with_accuracy(run, values):
    return replace(run, rounds={**run.rounds, "test_accuracy": np.array(values, "f8")})


@pytest.fixture
def groups(opened) -> list[Group]:
    """Two groups whose accuracies are known."""
    known = {"avg-1": [0.1, 0.5, 0.4, 0.6], "avg-2": [0.1, 0.2, 0.5, 0.4]}
    known |= {"man-1": [0.2, 0.6, 0.7, 0.5], "man-2": [0.1, 0.2, 0.3, 0.3]}
    return group([with_accuracy(opened(name), values) for name, values in known.items()])


def test_an_outcome_is_read_off_the_curve(groups):
    run = groups[0].runs[0]
    figures = outcome(run, target=0.5, last=2)
    assert figures["final_accuracy"] == pytest.approx(0.5) and figures["best_accuracy"] == 0.6
    assert (figures["best_round"], figures["rounds"], figures["rounds_to_target"]) == (4, 4, 2)
    sent = run.rounds["bytes_up"] + run.rounds["bytes_down"]
    assert (figures["bytes"], figures["bytes_to_target"]) == (sent.sum(), sent[:2].sum())
    assert figures["seconds_to_target"] == pytest.approx(run.rounds["seconds"][:2].sum())
    assert math.isnan(outcome(run, target=0.61)["rounds_to_target"])


def test_flops_to_a_target_are_a_column_where_runs_have_stored_them(groups):
    run = groups[0].runs[0]
    spent = run.rounds["flops"]
    figures = outcome(run, target=0.5)
    assert (figures["flops"], figures["flops_to_target"]) == (spent.sum(), spent[:2].sum())
    assert spent[0] > 0
    older = []
    for of in groups:
        rounds = [{k: v for k, v in r.rounds.items() if k != "flops"} for r in of.runs]
        runs = [replace(r, rounds=kept) for r, kept in zip(of.runs, rounds, strict=True)]
        older.append(Group(of.label, runs))
    assert "FLOP to 50 %" in markdown(compare(groups, target=0.5))
    assert "FLOP" not in markdown(compare(older, target=0.5))
    with pytest.raises(BadInput, match="flops: unknown quantity; runs of mpifl 0.2 and later"):
        series(older[0].runs[0], "flops")


def test_a_table_has_means_deviations_and_the_difference_to_the_paper(groups):
    table = compare(groups, target=0.5)
    avg, man = table.rows
    assert avg.figures["final_accuracy"].mean == pytest.approx(50)
    assert avg.figures["final_accuracy"].std == pytest.approx(np.std([60, 40], ddof=1))
    assert avg.figures["best_accuracy"].mean == pytest.approx(55)
    assert avg.figures["rounds_to_target"][:] == (2.5, pytest.approx(0.5**0.5), 2, 2)
    assert man.figures["rounds_to_target"].mean == 2 and man.figures["rounds_to_target"].n == 1
    assert avg.published["final_accuracy"] == (50.5, 0.25) and avg.difference(
        "final_accuracy"
    ) == pytest.approx(-0.5)
    assert math.isnan(avg.difference("best_accuracy"))


def test_the_markdown_is_a_table_with_notes(groups):
    text = markdown(compare(groups, target=0.5))
    head, rule, avg, man, gap, *notes = text.splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")][:6] == [
        "method",
        "runs",
        "final, %",
        "published",
        "difference",
        "best, %",
    ]
    assert len({len(line) for line in (head, rule, avg, man)}) == 1 and gap == ""
    assert " 50.00 ± 14.14 | 50.50 ± 0.25 |      −0.50 |  55.00 ± 7.07 |" in avg
    assert (
        "2.0 (1 of 2)" in man and "A paper, Table 1" in text and "sample standard deviation" in text
    )


def test_a_target_that_nobody_reaches_is_beyond_the_last_round(groups):
    text = markdown(compare(groups, target=0.99))
    assert text.count("> 4 |") == 2


def test_latex_is_escaped_and_csv_has_every_number(groups):
    table = compare([Group("50 % of a_b", groups[0].runs)], target=0.5)
    text = latex(table)
    assert (
        r"50 \% of a\_b & 2 & 50.00 $\pm$ 14.14 &" in text
        and text.count(r" \\") == 2
        and r"\toprule" in text
    )
    [row] = csv.DictReader(io.StringIO(FORMATS["csv"](table)))
    assert float(row["final_accuracy_mean"]) == pytest.approx(50) and row["seeds"] == "1 2"
    assert float(row["final_accuracy_difference"]) == pytest.approx(-0.5)
    assert set(row) == set(rows(table)[0])


def test_published_numbers_of_another_table_and_of_the_target(groups):
    options = {
        "published.table": "Table 1",
        "published.top1_acc": 55.3,
        "published.rounds_to_60pct": 20,
        "published.rounds_to_target": 7,
        "published.elsewhere.Table 3.top1_acc": 55.0,
        "published.elsewhere.Table 3.top1_acc_std": 0.5,
    }
    assert published(options)["final_accuracy"].value == 55.3
    assert published(options, "Table 3")["final_accuracy"] == (55.0, 0.5)
    assert published(options, "Table 1", target=0.6)["rounds_to_target"].value == 20
    assert published(options, target=0.5)["rounds_to_target"].value == 7
    assert published(options, against="best_accuracy").keys() == {"best_accuracy"}


def test_a_run_that_goes_on_is_noted_and_a_target_beyond_1_refused(groups):
    unfinished = replace(groups[0].runs[0], attrs={**groups[0].runs[0].attrs, "status": "running"})
    table = compare([Group("avg", [unfinished])])
    assert "avg, seed 1: running, 4 of 4 rounds" in table.notes
    with pytest.raises(BadInput, match="target: expected an accuracy above 0 and up to 1; got 60"):
        compare(groups, target=60)


def test_curvature_stands_beside_the_published_where_it_was_measured(folder, tmp_path):
    tops, clients = (
        {"avg-1": 10.0, "avg-2": 14.0},
        {"H_N": 96.0, "H_D": 0.875, "H_N_error": 1.0, "H_D_error": 0.001},
    )
    runs = []
    for name, top in tops.items():
        shutil.copytree(folder / name, tmp_path / name)
        runs.append(Run.open(tmp_path / name))
        findings = Findings.open(runs[-1])
        findings.begin("exact", {"protocol": "exact"})
        findings.add(
            "exact/round_000004/global/eigenvalues", Finding({"values": np.array([top, 1.0])})
        )
        findings.add("exact/round_000004/global/diagonal", Finding({"trace": np.array(20 * top)}))
    findings.add(
        "exact/round_000004/clients/disagreement",
        Finding({k: np.array(v) for k, v in clients.items()}),
    )
    table = compare([Group("avg", runs)])
    [row] = table.rows
    assert (
        row.figures["lambda_max"][:2] == (12, pytest.approx(8**0.5))
        and row.difference("lambda_max") == 0
    )
    assert row.figures["H_T"].mean == 240 and row.figures["H_N"][::2] == (96, 1)
    text = markdown(table)
    assert "λ_max" in text and "| 0.875 (1 of 2) |" in text and "measurement 'exact'" in text
    assert "lambda_max" not in compare([Group("avg", runs)], measurement="fedalign").rows[0].figures
    assert r"$\lambda_{\max}$ & published & difference & $H_T$" in latex(table)


@pytest.mark.parametrize(("round", "is_told"), [(2, True), (4, False)])
def test_curvature_of_an_older_round_than_the_accuracy_is_told(folder, tmp_path, round, is_told):
    shutil.copytree(folder / "avg-1", tmp_path / "avg-1")
    run = Run.open(tmp_path / "avg-1")
    findings = Findings.open(run)
    findings.add(f"exact/round_{round:06d}/global/eigenvalues", Finding({"values": np.ones(2)}))
    table = compare([Group("avg", [run])])
    told = [note for note in table.notes if note.startswith("curvature of avg: of an older round")]
    assert bool(told) == is_told


def test_an_edited_hessian_file_is_told_and_its_curvature_left_out(folder, tmp_path, capsys):
    shutil.copytree(folder / "avg-1", tmp_path / "avg-1")
    run = Run.open(tmp_path / "avg-1")
    findings = Findings.open(run)
    findings.add("exact/round_000004/global/eigenvalues", Finding({"values": np.ones(2)}))
    cut(findings.file, findings.file.stat().st_size - 24)  # as h5py's mode "a" does
    [row] = compare([Group("avg", [run])]).rows
    assert "final_accuracy" in row.figures
    assert "lambda_max" not in row.figures
    told = capsys.readouterr().err
    assert f"mpifl reseal {findings.file}; the table leaves out its curvature" in told


def test_a_table_of_runs_that_hold_out_shows_own_test_sets_and_unseen_clients(opened):
    columns = {"own_accuracy": [0.2, 0.4], "unseen_accuracy": [0.1, 0.3], "lr": [1.0, 1.0]}
    run = with_accuracy(opened("avg-1"), [0.1, 0.5, 0.4, 0.6])
    held = {}
    for name, values in columns.items():
        held[name] = np.array([*values, np.nan, np.nan])
    table = compare(group([replace(run, rounds={**run.rounds, **held})]), last=2)
    figures = table.rows[0].figures
    assert figures["own_accuracy"].mean == pytest.approx(30)
    assert figures["unseen_accuracy"].mean == pytest.approx(20)
    assert "participation_gap" not in figures
    assert "| own test sets, % | unseen clients, % |" in markdown(table)
    assert any("unseen clients: mean over clients that never train" in note for note in table.notes)


def test_eigenvalues_of_local_and_global_models_are_columns(opened, monkeypatch):
    cell = Cell(0.0, 1.0, 0.0, 4.0, 0.0, 5.0, 0.0, 0.02, 0.0)
    found = LocalAgainstGlobal(
        round=4,
        clients=[0, 1],
        shares=np.array([0.25, 0.75]),
        local=[cell, cell._replace(lambda_max=8.0)],
        local_on_all=[],
        received=[cell, cell],
        whole=cell._replace(lambda_max=2.5),
        averaging=Averaging(1.25, np.ones(2), np.ones(2), np.zeros(2)),
    )
    paths = {"round_000004/global_on_cohort/flatness": None}
    monkeypatch.setattr(Findings, "under", lambda self, name: paths)
    monkeypatch.setattr("mpifl.analysis.flatness.comparison.comparisons", lambda *_: [found])
    monkeypatch.setattr("mpifl.analysis.hessian.metrics.scalars", lambda *_: {})
    table = compare(group([opened("avg-1")]))
    figures = table.rows[0].figures
    assert figures["lambda_max_local"].mean == 0.25 * 4 + 0.75 * 8
    assert figures["lambda_max_global"].mean == 2.5
    assert "| λ_max local | λ_max global |" in markdown(table)
    assert any(note.startswith("λ_max local: of the clients' own") for note in table.notes)


def test_a_chosen_column_of_curvature_says_what_measures_it(opened):
    with pytest.raises(BadInput, match="expected runs whose lambda_max `mpifl hessian` measured"):
        compare(group([opened("avg-1")]), chosen=["lambda_max"])
