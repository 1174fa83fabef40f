"""Every measure of generalisation is reached by its name: in curves, tables, show, --help."""

import io
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from mpifl.analysis.runs.measures_shown import lines
from mpifl.analysis.runs.quantities import MEASURES, column_of, measures
from mpifl.analysis.runs.series import series
from mpifl.analysis.runs.summary import show
from mpifl.cli import main
from mpifl.options import BadInput
from mpifl.store import Run

HELD_OUT = [
    "holdout.ratio=2",
    "holdout.clients=0.2",
    "evaluation.every=2",
    "evaluation.train_every=2",
    "evaluation.clients=true",
    "model=mlp",
    "seed=1",
]


HERE = [name for group, names in MEASURES.items() if group != "domains" for name in names]
"""what data without domains have"""


@pytest.fixture(scope="module")
def run(once, folder) -> Run:
    """A run that measures all that there is."""

    def make(out) -> None:
        config = str(folder / "small.toml")
        done = CliRunner().invoke(main, ["run", config, *HELD_OUT, "--out", str(out)])
        assert done.exit_code == 0, done.output

    return Run.open(once("measures-run", make))


@pytest.mark.parametrize("name", HERE)
def test_each_measure_is_stored_by_a_run_that_holds_out(run, name):
    rounds, values = series(run, name)
    assert len(rounds) == len(values) > 0


@pytest.mark.parametrize("name", ["top5", "balanced_accuracy", "calibration_error", "gap"])
def test_short_names_mean_columns(run, name):
    assert series(run, name)[1].tolist() == series(run, column_of(name))[1].tolist()
    assert column_of(name) in measures()


def test_every_measure_that_a_run_stores_is_listed(run):
    ends = ("_gap", "_pooled", "_loss", "_tenth", "_client")
    found = [name for name in run.rounds if name.startswith(("own_", "unseen_", "train_"))]
    found += [name for name in run.rounds if name.endswith(ends)]
    assert set(found) - set(measures()) - {"test_loss"} == set()


def test_help_lists_every_measure():
    text = CliRunner().invoke(main, ["curves", "--help"]).output
    for name in measures():
        own = name.replace("unseen_", "own_").replace("out_of_sample", "participation")
        words = own.split("_")
        ends = ["_" + "_".join(words[-length:]) for length in range(1, len(words))]
        assert own in text or any(end in text for end in ends), name
    assert all(word in text for word in ("unseen_accuracy", "out_of_sample_gap", "skewed_accuracy"))


def test_the_accuracy_of_a_class_is_a_quantity(run):
    rounds, values = series(run, "test_accuracy_class_3")
    right = run.evaluations["test_right_by_class"][:, 3]
    assert rounds.tolist() == run.evaluations["round"].tolist()
    assert values == pytest.approx(right / run.evaluations["test_samples_by_class"][3])
    assert len(series(run, "own_accuracy_class_0")[0]) == len(rounds)
    with pytest.raises(BadInput, match="expected a class below 10, their number; got 10"):
        series(run, "test_accuracy_class_10")


def test_an_unknown_name_suggests_and_a_measure_says_what_measures_it(run, opened):
    with pytest.raises(BadInput, match="own_acuracy_p5: unknown quantity; did you mean own_acc"):
        series(run, "own_acuracy_p5")
    with pytest.raises(BadInput, match="unseen_acc.*with holdout.clients measure it; allowed"):
        series(opened("avg-1"), "unseen_accuracy")
    with pytest.raises(BadInput, match="train_loss: .*runs with evaluation.train_every measure"):
        series(opened("avg-1"), "train_loss")
    with pytest.raises(BadInput, match="lambda_max_local: .*`mpifl curvature` draws it"):
        series(run, "lambda_max_local")


def test_show_tells_the_last_value_of_each(run):
    found = dict(lines(run))
    assert list(found) == [
        "by class",
        "calibration error",
        "training samples",
        "own test sets, spread",
        "a client's own model",
        "before its training, spread",
        "after its training, spread",
        "unseen clients, spread",
        "gaps",
    ]
    last = run.rounds["own_accuracy_p25"][np.isfinite(run.rounds["own_accuracy_p25"])][-1]
    assert f"25th {100 * last:.2f} %" in found["own test sets, spread"]
    samples = run.evaluations["own_samples_by_client"]
    own = samples[run.trains]
    shares = run.evaluations["own_right_by_client"][-1][run.trains] / own
    counted = f"of {(own > 0).sum()} clients; the worst has {own[np.nanargmin(shares)]} sample"
    assert counted in found["own test sets, spread"]
    assert f"of {(~run.trains).sum()} client" in found["unseen clients, spread"]
    assert "top 5" in found["by class"] and "out of sample" in found["gaps"]
    assert dict(lines(replace(run, rounds={"round": np.arange(2)}))) == {}


def test_show_tells_how_much_of_a_clients_labels_the_test_set_covers(run):
    def said(mass: float) -> str:
        rounds = {**run.rounds, "skewed_mass": np.full(len(run.rounds["round"]), mass)}
        stream = io.StringIO()
        show(replace(run, rounds=rounds), Console(file=stream, width=200))
        return stream.getvalue()

    assert "at least 80.00 % of a client's labels" in said(0.8)
    assert "of a client's labels" not in said(1.0)


def test_a_table_has_any_measure_as_a_column(command, run, tmp_path):
    names = "own_accuracy_worst_decile,top5,unseen_loss,test_accuracy_class_0,final"
    code, out, _ = command("table", str(run.path), "--columns", names)
    assert code == 0
    head = out.splitlines()[0]
    titles = ["worst tenth, %", "test accuracy top5, %", "unseen loss"]
    titles += ["test accuracy class 0, %", "final, %", "published", "difference"]
    assert [cell.strip() for cell in head.strip("|").split("|")][2:] == titles
    code, _, err = command("table", str(run.path), "--columns", "top6")
    assert code == 2 and "top6: unknown quantity" in err


def test_groups_of_measures_have_no_name_twice():
    names = [name for group in MEASURES.values() for name in group]
    assert len(names) == len(set(names))
