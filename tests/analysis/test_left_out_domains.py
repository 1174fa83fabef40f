"""Runs that each leave one domain out, in a table: each domain, mean, worst, and which round."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import mpifl
from mpifl.analysis.runs import left_out
from mpifl.analysis.runs.comparison import compare
from mpifl.analysis.runs.groups import group
from mpifl.analysis.runs.paired import Pairing, compare_paired
from mpifl.analysis.runs.series import series
from mpifl.analysis.runs.table_formats import markdown
from mpifl.options import BadInput

CONFIG = {
    "rounds": 3,
    "clients": 4,
    "data": {
        "name": "synthetic",
        "options": {"shape": [1, 5, 5], "train": 120, "test": 60, "domains": 3, "classes": 3},
    },
    "model": {"name": "mlp", "hidden": [6]},
    "local": {"lr": 0.2, "batch": 16},
}
DOMAINS = ("domain 0", "domain 1", "domain 2")


def made(test, source, domain="sketch", seed=0):
    """A run of these test and source accuracies by round."""
    rounds = {
        "round": np.arange(1, len(test) + 1),
        "test_accuracy": np.array(test),
        "source_accuracy": np.array(source),
    }
    return SimpleNamespace(rounds=rounds, left_out=(domain,), seed=seed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of a run for each left-out domain."""
    folder = tmp_path_factory.mktemp("domains")
    found = {}
    for seed in (0, 1):
        for domain in DOMAINS:
            config = {**CONFIG, "seed": seed, "holdout": {"domains": [domain]}}
            found[seed, domain] = mpifl.run(config, out=folder / f"{domain} {seed}", quiet=True)
    return found


def test_the_source_best_round_is_the_first_with_the_best_mean_of_the_source_domains():
    sources = [(0.6, 0.7, 0.8), (0.8, 0.8, 0.8), (0.9, 0.7, 0.8), (0.7, 0.7, 0.7)]
    run = made([0.40, 0.50, 0.60, 0.65], [round(sum(of) / 3, 12) for of in sources])
    assert left_out.source_best(run) == (2, 0.50)


def test_mean_and_worst_are_over_domains_that_each_weigh_the_same():
    accuracies = {"art": 0.80, "cartoon": 0.75, "photo": 0.95, "sketch": 0.60}
    rows = []
    for domain, accuracy in accuracies.items():
        figures = {"final_accuracy": accuracy}
        run = made([accuracy], [0.9], domain)
        rows.append(figures | left_out.outcome(run, figures))
    row = left_out.over_domains(rows, list(accuracies), list(accuracies))
    assert row["final_accuracy"] == pytest.approx(0.775)
    assert row["worst_domain_accuracy"] == 0.60
    assert row["final_accuracy:photo"] == 0.95


@pytest.mark.slow
def test_runs_of_all_domains_are_one_row_with_mean_and_deviation_over_seeds(runs):
    groups = group(list(runs.values()), over_domains=True)
    table = compare(groups)
    [row] = table.rows
    assert row.label == "fedavg"
    of_seeds = []
    for seed in (0, 1):
        of_seeds.append([100 * runs[seed, d].rounds["test_accuracy"][-1] for d in DOMAINS])
    final = row.figures["final_accuracy"]
    assert final[:] == pytest.approx(
        (np.mean(of_seeds), np.std(np.mean(of_seeds, 1), ddof=1), 2, 2)
    )
    assert row.figures["worst_domain_accuracy"].mean == pytest.approx(np.mean(np.min(of_seeds, 1)))
    for place, domain in enumerate(DOMAINS):
        of_domain = row.figures[f"final_accuracy:{domain}"]
        assert of_domain.mean == pytest.approx(np.array(of_seeds)[:, place].mean())
        assert of_domain.n == 2
    chosen = [100 * left_out.source_best(run).accuracy for run in runs.values()]
    assert row.figures["source_best_accuracy"].mean == pytest.approx(np.mean(chosen))
    text = markdown(table)
    assert "domain 1, source-best, %" in text
    assert "left-out domains (domain 0, domain 1, domain 2)" in text


def test_a_seed_that_lacks_a_domain_has_no_mean(runs):
    some = [run for key, run in runs.items() if key != (1, "domain 2")]
    [row] = compare(group(some, over_domains=True)).rows
    assert row.figures["final_accuracy"][2:] == (1, 2)
    assert row.figures["final_accuracy:domain 1"].n == 2
    assert row.figures["final_accuracy:domain 2"].n == 1


def test_runs_of_several_left_out_domains_are_no_pairs(runs):
    with pytest.raises(BadInput, match="expected runs that leave the same domain out"):
        compare_paired(group(list(runs.values())), Pairing())


def test_without_the_table_each_left_out_domain_is_a_method_of_its_own(runs):
    assert [len(found) for found in group(list(runs.values()))] == [2, 2, 2]


def test_the_same_domain_and_seed_twice_is_refused(runs, tmp_path):
    config = {**CONFIG, "seed": 0, "holdout": {"domains": ["domain 0"]}}
    again = mpifl.run(config, out=tmp_path / "again", quiet=True)
    with pytest.raises(BadInput, match="each method and seed once"):
        group([*runs.values(), again], over_domains=True)


def test_curves_know_each_domain_by_its_name(runs):
    run = runs[0, "domain 1"]
    assert series(run, "accuracy_domain_domain 1")[1] == pytest.approx(run.rounds["test_accuracy"])
    source = [series(run, f"accuracy_domain_{name}")[1] for name in ("domain 0", "domain 2")]
    assert np.mean(source, 0) == pytest.approx(run.rounds["source_accuracy"])
    with pytest.raises(BadInput, match="expected a domain of the data; got 'domain 7'"):
        series(run, "accuracy_domain_domain 7")
