"""show: the summary a user reads, and the last line a script reads."""

import io

import numpy as np
import pytest
from rich.console import Console

from mpifl.analysis.runs.summary import accuracy_curve, show
from mpifl.runner import schema
from mpifl.store import Entry, Run, Store, sha256

CONFIG = """
name = "fedavg-man"
rounds = 4
participation = { kind = "fixed", fraction = 0.5 }
[model]
name = "cnn"
norm = "group"
[algorithm]
name = "feddyn"
alpha = 0.01
[local]
lr = 0.05
path = ""
gradient = { name = "sam", rho = 0.1 }
augment = { crop = 0 }
loss = "ce + man(zeta=0.15)"
"""
WEIGHTS = np.arange(5, dtype="f4")


@pytest.fixture
def make(tmp_path):
    """make(accuracies, saved=(), config=CONFIG, digest=...) -> Run, one round per accuracy (None:
    not evaluated).
    """

    def make(accuracies, saved=(), config=CONFIG, digest=None) -> Run:
        partition = np.arange(10), np.array([0, 1, 4, 10]), np.array([[1, 0], [2, 1], [0, 6]])
        provenance = {"hosts": ["node1", "node1", "node2"], "git": "[red]1f[/red]", "ranks": 3}
        layout = [Entry("w", "parameter", (5,), 0, 5)]
        folder = tmp_path / "a-run"
        store = Store.create(
            folder,
            config=config,
            seed=5,
            layout=layout,
            clients=3,
            partition=partition,
            provenance=provenance,
        )
        for t, accuracy in enumerate(accuracies, 1):
            row = {"bytes_up": 1_500_000, "seconds_train": 2.0 * t}
            if accuracy is not None:
                row |= {"test_accuracy": accuracy, "sha256": digest or sha256(WEIGHTS + t)}
                row["test_accuracy_average"] = accuracy / 2
            store.append(t, row, {}, [0])
            if t in saved:
                store.weights(t, WEIGHTS + t)
        store.close()
        return Run.open(folder)

    return make


def shown(run: Run, width: int = 80, config: bool = False, **options) -> str:
    stream = io.StringIO()
    show(run, Console(file=stream, width=width, **options), config)
    return stream.getvalue()


@pytest.mark.parametrize(
    "fact",
    [
        "fedavg-man: complete",
        "cnn (norm=group)",
        "feddyn (alpha=0.01)",
        " lr=0.05, gradient=sam (rho=0.1), augment=(crop=0)",
        "ce + man(zeta=0.15)",
        "fixed (fraction=0.5)",
        "3 of 4",
        "best 75.00 % (round 2), last 50.00 % (round 3)",
        "the server's second model 25.00 %",
        "min 1, median 3, max 6",
        "min 1, median 1, max 2 of 2",
        "mean 1.5 MB a round, 4.5 MB in all",
        "mean 4 a round, 12 in all",
        "2 x node1, node2",
        "[red]1f[/red]",
        "seed 5",
        "2, 3",
    ],
)
def test_the_summary_says(make, fact):
    assert fact in shown(make([0.25, 0.75, 0.5], saved=(2, 3)))


def test_piped_output_has_no_escape_codes_and_a_terminal_gets_them(make):
    run = make([0.25, 0.75], saved=(2,))
    assert "\x1b" not in shown(run) and "\x1b" in shown(run, force_terminal=True)


@pytest.mark.parametrize("width", [20, 40, 80, 300])
@pytest.mark.parametrize("terminal", [False, True])
def test_the_last_line_is_the_digest_of_the_last_saved_weights(make, width, terminal):
    text = shown(make([0.1, 0.2, 0.3], saved=(1, 2)), width, force_terminal=terminal)
    assert text.endswith(f"\nsha256 {sha256(WEIGHTS + 2)}\n")
    assert "the weights saved at round 2" in " ".join(text.split())


def test_without_saved_weights_the_digest_is_that_of_the_last_row_that_has_one(make):
    text = shown(make([0.1, 0.2, None]))
    assert "no weights are saved; digest stored at round 2" in text
    assert text.endswith(f"\nsha256 {sha256(WEIGHTS + 2)}\n")


def test_saved_weights_that_differ_from_the_rounds_digest_are_reported(make):
    assert "WARNING" in shown(make([0.1, 0.2], saved=(2,), digest="0" * 64))


@pytest.mark.parametrize("config", ["", "not TOML at all ["])
def test_a_run_without_rounds_or_readable_config_is_shown_too(make, config):
    text = shown(make([], config=config), config=True)
    assert "fedavg" not in text  # no default is taken for what is not known
    assert (
        text.startswith("a-run: complete")
        and "not evaluated yet" in text
        and text.endswith("\nsha256 none\n")
    )


def test_the_stored_config_is_printed_whole_on_demand(make):
    run = make([0.5])
    assert CONFIG.strip() in shown(run, width=20, config=True) and CONFIG.strip() not in shown(run)


def test_who_went_on_with_a_run_is_told_too(make):
    run = make([0.5, 0.6, 0.7])
    assert "resumed" not in shown(run)
    given = {
        "config": CONFIG,
        "layout": run.layout,
        "partition": (run.indices, run.offsets, run.label_counts),
        "provenance": {"host": ["node3"] * 2, "command": "mpifl run x"},
    }
    Store.resume(run.path, round=0, **given).close()
    told = shown(Run.open(run.path), width=200)
    assert "resumed" in told and "after round 0, 20" in told and ", 2 x node3, mpifl run x" in told


@pytest.mark.parametrize(
    "accuracies", [[0.5], [0.5, 0.5], [float("nan"), 0.5], list(np.linspace(0, 1, 300))]
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_curve_fits_its_width_in_any_encoding(make, accuracies, encoding):
    curve = accuracy_curve(make(accuracies), 60, encoding)
    assert curve.encode(encoding) and "test accuracy" in curve and "round" in curve
    assert max(map(len, curve.splitlines())) <= 60 and "\x1b" not in curve


def test_the_summary_says_what_differs_from_the_defaults_and_the_config_marks_it(make):
    raw = {"rounds": 2, "local": {"lr": 0.5}, "init": "runs/first@2", "objective": "uniform"}
    stored = schema.text(schema.resolve(raw))
    run = make([0.5], config=stored)
    assert "lr=0.5" in shown(run)
    lines = [line.split() for line in shown(run).splitlines()]
    assert ["init", "runs/first@2"] in lines
    assert ["objective", "uniform"] in lines
    assert "buffers" not in shown(run)
    assert "momentum" not in shown(run)
    assert "(options that are not shown have their defaults: --config)" in shown(run)
    whole = shown(run, config=True)
    assert "lr = 0.5  # default: 0.1\n" in whole
    assert "\nmomentum = 0.0\n" in whole
