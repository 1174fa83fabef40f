"""How well the models do: accuracy and loss by round, a table, paired differences, and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mpifl.analysis.report import blocks
from mpifl.analysis.report.blocks import Section
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.runs import paired_formats, table_formats
from mpifl.analysis.runs.comparison import LOCAL_GLOBAL, Comparison
from mpifl.analysis.runs.curves import curve_panels
from mpifl.analysis.runs.outcomes import REACHED
from mpifl.analysis.runs.paired import Pairing, compare_paired
from mpifl.analysis.runs.published import CURVATURE, with_published_accuracy
from mpifl.analysis.runs.series import has
from mpifl.options import BadInput

_CURVES = {
    "loss": (
        "Test loss by round",
        "Cross-entropy on the test set; a rise while accuracy grows means overconfidence.",
    ),
    "training_loss": (
        "Training loss by round",
        "The clients' objective as they train, the mean over the round's clients: how well the "
        "data that they have are fitted.",
    ),
    "train_accuracy": (
        "Accuracy on training samples",
        "The global model on the samples that train, without augmentation; compare it with the "
        "test accuracy.",
    ),
}
_GAPS = {
    "generalisation_gap": (
        "Generalisation gap",
        "Accuracy on the training samples minus that on the test set: the lower, the better what "
        "was learnt carries over to new samples.",
    ),
    "own_accuracy": (
        "Clients' own test sets",
        "Accuracy on held-out samples of the clients that train, the mean over clients.",
    ),
    "unseen_accuracy": (
        "Clients that never train",
        "Accuracy on the samples of clients that took no part in training, the mean over clients.",
    ),
    "participation_gap": (
        "Participation gap",
        "Own test sets of clients that train minus clients that never train: above 0, the model "
        "does worse for newcomers.",
    ),
    "own_accuracy_worst_tenth": (
        "Worst tenth of the clients",
        "Mean accuracy of the tenth of the clients with the lowest one: what the mean hides.",
    ),
}


def scores(compared: Compared, comparison: Comparison) -> Section:
    """Curves of accuracy and loss, the table of methods, and differences over the same seeds."""
    section = Section("accuracy", "Accuracy and loss")
    made = [_accuracy(compared)]
    for name, (title, caption) in _CURVES.items():
        made.append(compared.curve(name, title, caption))
    section.parts.append(compared.legend())
    section.parts.append(blocks.charts([chart for chart in made if chart]))
    hidden = {*REACHED, *CURVATURE, *LOCAL_GLOBAL}
    columns = [column.key for column in comparison.columns if column.key not in hidden]
    section.parts.append(
        columns_table(
            comparison,
            columns,
            "The methods after training, each the mean over its seeds ± standard deviation.",
        )
    )
    section.parts.append(blocks.notes(note for note in comparison.notes if _is_of_scores(note)))
    section.parts.append(_paired(compared))
    return section


def gaps(compared: Compared) -> Section:
    """Generalisation and participation gaps by round."""
    section = Section("gaps", "Generalisation and participation gaps")
    made = []
    for name, (title, caption) in _GAPS.items():
        made.append(compared.curve(name, title, caption))
    drawn = [chart for chart in made if chart]
    if drawn:
        section.parts = [compared.legend(), blocks.charts(drawn)]
    return section


def columns_table(comparison: Comparison, keys: Sequence[str], caption: str) -> str:
    """Some columns of the table of methods; "" where it has none of them."""
    columns = [column for column in comparison.columns if column.key in keys]
    if not columns:
        return ""
    heads, *rows = table_formats.text_rows(replace(comparison, columns=columns))
    return blocks.table(heads, rows, caption)


def _accuracy(compared: Compared) -> str:
    """Accuracy by round, with the published values that configs quote."""
    groups = compared.groups_where(lambda run: has(run, "accuracy"))
    try:
        [panel] = curve_panels(groups, ["accuracy"])
    except BadInput:  # the runs of a group share no round
        return ""
    with_marks = with_published_accuracy(panel, groups)
    caption = "Accuracy of the global model on the test set: higher and earlier is better."
    if any(mark is not None for mark in with_marks.marks):
        caption += " Dotted: the published accuracy that the config quotes."
    return compared.charted(with_marks, "Test accuracy by round", caption)


def _is_of_scores(note: str) -> bool:
    return not note.startswith(("curvature:", "λ_max", "to a target:"))


def _paired(compared: Compared) -> str:
    """Differences to the first method over shared seeds; "" where there are no two of them."""
    first, *others = compared.groups
    seeds = {run.seed for run in first.runs}
    paired = [group for group in others if len(seeds & {run.seed for run in group.runs}) > 1]
    if not paired:
        return ""
    try:
        made = compare_paired([first, *paired], Pairing())
        heads, *rows = paired_formats.text_rows(made)
    except BadInput as problem:
        return blocks.paragraph(f"No paired differences: {problem}")
    caption = (
        f"Differences to {first.label} over the seeds that both have, ± the 95 % confidence "
        "interval of the mean: one that leaves 0 out is more than chance."
    )
    return blocks.table(heads, rows, caption) + blocks.notes(made.notes)
