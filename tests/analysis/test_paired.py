"""Paired tables: differences over shared seeds, and what runs of one seed must share."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.paired import Pairing, compare_paired
from mpifl.analysis.runs.paired_formats import FORMATS
from mpifl.analysis.runs.pairing import SHARED, digests, not_compared, refuse_unpaired
from mpifl.options import BadInput

A = [71.2, 69.8, 73.0, 70.4, 72.1]
B = [70.1, 68.9, 71.6, 69.9, 70.8]
ONE = Pairing(last=1)


@pytest.fixture
def method(opened):
    """method(label, last accuracies in percent) -> the group of runs with seeds 1, 2, ..."""
    run = opened("avg-1")

    def make(label: str, finals: list[float], seeds: range | None = None) -> Group:
        runs = []
        for seed, final in zip(seeds or range(1, len(finals) + 1), finals, strict=True):
            accuracy = np.array([0.2, 0.9, 0.4, final / 100])
            attrs = {**run.attrs, "seed": seed, "run_id": f"{label}-{seed}"}
            rounds = {**run.rounds, "test_accuracy": accuracy}
            runs.append(replace(run, attrs=attrs, rounds=rounds))
        return Group(label, runs)

    return make


def text(groups, how=ONE) -> str:
    return FORMATS["md"](compare_paired(groups, how))


def test_five_paired_seeds_give_the_interval_but_no_star(method):
    table = compare_paired([method("b", B), method("a", A)], ONE)
    [row] = table.rows
    found = row.differences["last_accuracy"]
    assert found.mean == pytest.approx(1.04)
    assert found.half_width == pytest.approx(0.444231, abs=5e-7)
    assert found.p == pytest.approx(0.00289, abs=5e-6)
    assert (found.p_sign_flip, found.has_star, found.is_told) == (0.0625, False, True)
    assert found.unpaired_half_width == pytest.approx(1.702351, abs=5e-7)
    told = text([method("b", B), method("a", A)])
    assert "| +1.04 ± 0.44 |" in told and "*" not in told.split("\n\n")[0]
    assert "a: 5 shared seeds are too few for a star" in told and "p = 0.0625" in told


def test_three_paired_seeds(method):
    table = compare_paired([method("b", B[:3]), method("a", A[:3])], ONE)
    found = table.rows[0].differences["last_accuracy"]
    assert found.mean == pytest.approx(1.133333, abs=5e-7)
    assert found.half_width == pytest.approx(0.625161, abs=5e-7)


def test_six_seeds_may_have_a_star_and_several_methods_are_adjusted(method):
    base = method("b", [70.0, 71, 72, 70, 71, 72])
    clear = method("clear", [71.0, 72.1, 73, 71.1, 72, 73.1])
    unclear = method("unclear", [70.9, 71.0, 71.9, 70.6, 71.8, 71.7])
    table = compare_paired([base, clear, unclear], ONE)
    first, second = (row.differences["last_accuracy"] for row in table.rows)
    assert first.p_holm == pytest.approx(2 * first.p) and first.has_star
    assert second.p_holm == second.p > 0.05 and not second.has_star
    lines = FORMATS["md"](table).splitlines()
    assert "+1.05 ± 0.06 * |" in lines[3]
    assert "adjusted over 2 methods (Holm)" in "\n".join(lines)
    too_few = next(line for line in lines if "too few seeds to tell the last" in line)
    assert too_few.startswith("unclear") and f"about {second.seeds_to_tell} seeds" in too_few
    assert r"$+$" not in FORMATS["tex"](table) and r" $\pm$ 0.06$^*$" in FORMATS["tex"](table)


def test_last_best_and_the_mean_of_the_last_evaluations_are_told_apart(method):
    table = compare_paired([method("b", [50, 60]), method("a", [52, 64])], Pairing(last=2))
    columns = [column.title for column in table.columns]
    assert columns[:3] == ["mean of last 2, %", "last, %", "best, %"]
    found = table.rows[0].differences
    assert found["mean_accuracy"].mean == pytest.approx(1.5)
    assert found["last_accuracy"].mean == pytest.approx(3)
    assert (found["best_accuracy"].mean, found["best_accuracy"].half_width) == (0, 0)
    assert np.isnan(found["best_accuracy"].p), "no spread, no p"
    assert table.baseline_means["mean_accuracy"] == pytest.approx((40 + 55) / 2)


def test_unpaired_seeds_are_dropped_and_one_seed_has_no_interval(method):
    groups = [method("b", B, range(1, 6)), method("a", [70.0, 60], range(5, 7))]
    told = text(groups)
    assert "a: left out, for only one of the two has it: seed 1, 2, 3, 4, 6" in told
    assert "|     1 |   −0.80 |" in told
    assert "a: 1 shared seed says nothing about chance" in told
    with pytest.raises(BadInput, match="expected seeds that a and b share; got 9 and 1, 2"):
        compare_paired([method("b", B[:2]), method("a", [1], range(9, 10))], ONE)


def test_the_baseline_is_named_by_its_label_or_the_path_of_a_run(method, folder):
    groups = [method("b", B), method("a", A)]
    assert compare_paired(groups, Pairing("a", last=1)).baseline == "a"
    at = Pairing(str(folder / "avg-1"), last=1)
    assert compare_paired(groups, at).baseline == "b"
    with pytest.raises(BadInput, match="got bb; did you mean b\\? allowed: b, a"):
        compare_paired(groups, Pairing("bb"))
    with pytest.raises(BadInput, match="of the baseline and of other methods; got b only"):
        compare_paired(groups[:1], ONE)
    with pytest.raises(BadInput, match="got seed 1 more than once in b"):
        twice = Group("b", groups[0].runs + groups[0].runs)
        compare_paired([twice, groups[1]], ONE)


def test_a_csv_has_a_row_for_each_method_and_quantity(method):
    table = compare_paired([method("b", B), method("a", A)], ONE)
    first = next(csv.DictReader(io.StringIO(FORMATS["csv"](table))))
    assert (first["method"], first["baseline"], first["quantity"]) == ("a", "b", "last_accuracy")
    assert float(first["low"]) == pytest.approx(1.04 - 0.444231, abs=1e-6)
    assert (first["seeds"], first["pairs"], first["significant"]) == ("1 2 3 4 5", "5", "0")


def test_chosen_columns_are_compared_in_their_order(method):
    table = compare_paired([method("b", B), method("a", A)], Pairing(chosen=["loss", "last"]))
    assert [column.key for column in table.columns] == ["test_loss", "last_accuracy"]
    with pytest.raises(BadInput, match="own_acuracy: unknown quantity; did you mean own_accuracy"):
        compare_paired([method("b", B), method("a", A)], Pairing(chosen=["own_acuracy"]))


def altered(run, what):
    """The run with another one of SHARED."""
    if what == "data":
        return replace(run, provenance={**run.provenance, "data_checksum": "other"})
    if what == "initial-weights":
        return replace(run, provenance={**run.provenance, "initial_weights": "other"})
    if what == "partition":
        return replace(run, indices=run.indices[::-1].copy())
    if what == "hold-outs":
        none = np.zeros(0, "i8")
        offsets = np.zeros(len(run.offsets), "i8")
        trains = np.ones(len(offsets) - 1, "i8")
        return replace(run, holdout={"indices": none, "offsets": offsets, "trains": trains})
    if what == "cohorts":
        ids = run.clients.ids.copy()
        ids[0] += 1
        return replace(run, clients=replace(run.clients, ids=ids))
    if what == "work":
        reported = {**run.clients.reported, "epochs": np.arange(len(run.clients.ids))}
        return replace(run, clients=replace(run.clients, reported=reported))
    counts = run.evaluations["test_samples_by_class"] + 1
    return replace(run, evaluations={**run.evaluations, "test_samples_by_class": counts})


@pytest.mark.parametrize("what", sorted(set(SHARED) - {"work", "augmentation"}))
def test_what_runs_of_one_seed_must_share_is_named_and_refused(opened, what):
    run = opened("avg-1")
    other = altered(run, what)
    refuse_unpaired(run, run)
    with pytest.raises(BadInput, match=rf"seed 1 .* differ in {what} \(\w+, \w+\).*--unshared"):
        refuse_unpaired(run, other)
    refuse_unpaired(run, other, allowed=[what])


def test_work_is_compared_where_both_runs_store_it(opened):
    run = altered(opened("avg-1"), "work")
    less = {**run.clients.reported, "epochs": run.clients.reported["epochs"] * 0}
    other = replace(run, clients=replace(run.clients, reported=less))
    with pytest.raises(BadInput, match="differ in work"):
        refuse_unpaired(run, other)
    assert not_compared(run, opened("avg-1")) == {"work": "not stored"}
    assert not_compared(opened("avg-1"), opened("man-1")) == {}


def test_augmentation_is_compared_by_its_options(opened):
    run = opened("avg-1")
    flipped = run.config.replace("flip = 0.0", "flip = 0.5")
    assert flipped != run.config
    with pytest.raises(BadInput, match="differ in augmentation"):
        refuse_unpaired(run, replace(run, attrs={**run.attrs, "config": flipped}))


def test_another_network_shares_no_initial_weights_and_an_older_run_has_not_stored_them(opened):
    run = opened("avg-1")
    network = replace(altered(run, "initial-weights"), layout=run.layout[:-1])
    refuse_unpaired(run, network)
    assert not_compared(run, network) == {"initial-weights": "another network"}
    facts = {key: value for key, value in run.provenance.items() if key != "initial_weights"}
    assert not_compared(replace(run, provenance=facts), run) == {"initial-weights": "not stored"}


def test_only_rounds_that_both_runs_have_are_compared(opened):
    run = opened("avg-1")
    shorter = replace(
        run,
        clients=run.clients.up_to(2),
        rounds={name: column[:2] for name, column in run.rounds.items()},
    )
    assert digests(run, shorter)["cohorts"] == digests(shorter, run)["cohorts"]
    refuse_unpaired(run, shorter)


def test_two_methods_of_one_seed_share_everything_that_is_checked(opened):
    ours = digests(opened("avg-1"), opened("man-1"))
    assert ours == digests(opened("man-1"), opened("avg-1"))
    assert set(ours) == set(SHARED) - {"work"}
    assert ours["initial-weights"] != digests(opened("avg-2"), opened("man-2"))["initial-weights"]


def test_the_command_pairs_runs_and_refuses_wrong_words(command, tmp_path):
    names = ["avg-1", "avg-2", "man-1", "man-2"]
    code, out, _ = command("table", *names, "--paired")
    assert code == 0
    head, _, first, second, *_ = out.splitlines()
    assert "mean of last 5, %" in head and first.startswith("| ce ") and "±" in second
    assert "ce + man: 2 shared seeds are too few for a star" in out
    code, out, _ = command("table", "--paired", "man-1", *names, "--last", "2", "-o", "d.csv")
    assert code == 0
    assert "ce,ce + man,mean_accuracy" in (tmp_path / "d.csv").read_text()
    code, _, err = command("table", *names, "--paired", "--unshared", "cohort")
    assert code == 2 and "--unshared: cohort: unknown name; did you mean cohorts?" in err
    code, _, err = command("table", *names, "--unshared", "cohorts")
    assert code == 2 and "expected --paired with --unshared" in err
