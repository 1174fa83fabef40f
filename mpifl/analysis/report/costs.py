"""What accuracy costs: rounds, bytes, operations and time."""

from __future__ import annotations

from mpifl.analysis.report import blocks
from mpifl.analysis.report.blocks import Section
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.report.scores import columns_table
from mpifl.analysis.runs.comparison import Comparison
from mpifl.analysis.runs.outcomes import REACHED

_OVER = {
    "bytes": (
        "Accuracy by bytes sent",
        "Test accuracy over the bytes that server and clients of a real federation would have "
        "sent so far: further left is cheaper.",
    ),
    "flops": (
        "Accuracy by computation",
        "Test accuracy over the floating-point operations of the clients' training so far, on any "
        "machine the same: further left is cheaper.",
    ),
    "seconds": (
        "Accuracy by time",
        "Test accuracy over the wall-clock time of the simulation so far, which depends on the "
        "machine.",
    ),
}


def costs(compared: Compared, comparison: Comparison) -> Section:
    """Rounds, operations, bytes and seconds to the target, and accuracy over each of them."""
    section = Section("costs", "What accuracy costs")
    made = []
    for over, (title, caption) in _OVER.items():
        made.append(compared.curve("accuracy", title, caption, over))
    if compared.target is not None:
        percentage = f"{100 * compared.target:g} %"
        section.parts.append(
            columns_table(
                comparison,
                REACHED,
                f"What it took until the first test at or above {percentage} accuracy, the mean "
                "over seeds ± standard deviation; (2 of 3): over the runs that reached it.",
            )
        )
    section.parts.append(compared.legend())
    section.parts.append(blocks.charts([chart for chart in made if chart]))
    return section
