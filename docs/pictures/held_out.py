"""The README's picture, of the nine runs of configs/held-out-sweep.toml: python held_out.py RUNS.

The runs are to have been measured with `mpifl hessian RUN --local-against-global --samples 300`, at
least those of seed 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpifl.analysis import Findings, Group, curve, group, open_runs
from mpifl.analysis.figures.matplotlib_figures import STYLE
from mpifl.analysis.figures.panels import COLOURS
from mpifl.analysis.flatness.comparison import LocalAgainstGlobal, comparisons

LABELS = {"ce, plain": "FedAvg", "ce + man": "+ MAN", "sam": "+ SAM"}


def draw_curves(axes: Axes, groups: list[Group], quantity: str, title: str) -> None:
    """The mean over seeds by round, and a band of one standard deviation, in %."""
    for method, colour in zip(groups, COLOURS, strict=False):
        trace = curve(method, quantity).scaled(1, 100)
        axes.plot(trace.x, trace.mean, color=colour, label=LABELS[method.label])
        axes.fill_between(trace.x, *trace.band(), color=colour, alpha=0.18, linewidth=0)
    axes.set(title=title, xlabel="round", ylabel="accuracy, %", ylim=(0, None))


def draw_flatness(axes: Axes, groups: list[Group]) -> None:
    """The largest eigenvalue of the last round's clients' models, each on its own samples, and of
    the global model on the samples of them all, seed 1.
    """
    for place, method in enumerate(groups):
        found = comparisons(Findings.open(method.runs[0].path))[-1]
        values = [cell.lambda_max for cell in found.local]
        axes.plot([place - 0.15] * len(values), values, "o", color=COLOURS[place], alpha=0.5, ms=3)
        axes.plot(place + 0.15, found.whole.lambda_max, "D", color=COLOURS[place], ms=5)
        label_kinds(axes, place, found)
    axes.set(title="sharpness: λ_max of the Hessian", ylabel="λ_max", ylim=(0, None))
    axes.set_xticks(range(len(groups)), [LABELS[method.label] for method in groups])
    axes.set_xlim(-0.6, len(groups) - 0.3)


def label_kinds(axes: Axes, place: int, found: LocalAgainstGlobal) -> None:
    """Say beside the first method's marks what they are."""
    if place > 0:
        return
    highest = max(cell.lambda_max for cell in found.local)
    axes.annotate("each client", (-0.08, highest), va="center", fontsize=7)
    axes.annotate("global", (0.25, found.whole.lambda_max), va="center", fontsize=7)


def main() -> None:
    """Draw held-out.svg beside this file."""
    groups = group(open_runs(sorted(Path(sys.argv[1]).iterdir())))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 2.5), layout="constrained")
        test, worst, flat = figure.subplots(1, 3)
        draw_curves(test, groups, "accuracy", "test set")
        draw_curves(worst, groups, "own_accuracy_worst_tenth", "worst tenth of the clients")
        draw_flatness(flat, groups)
        test.legend(loc="upper left")
        figure.savefig(Path(__file__).with_name("held-out.svg"), metadata={"Date": None})


main()
