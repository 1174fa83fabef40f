"""The table of local models against the global one, as `mpifl hessian` and `curvature` print it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mpifl.analysis.flatness.comparison import Cell, Estimate, LocalAgainstGlobal
from mpifl.analysis.landscape.values import barrier_in_words
from mpifl.terminal import Table, percent, say, say_paragraph, say_table, table

_CELLS = ("λ_max", "trace", "sharpness", "‖grad‖", "loss", "accuracy")

_MOST_CLIENTS = 12
"""with rows of their own"""


def say_comparisons(title: str, found: Sequence[LocalAgainstGlobal]) -> None:
    """Print the last round's table of models and data, then what follows, by round."""
    last = found[-1]
    say_table(f"{title}, round {last.round}: local models against the global one", _models(last))
    say_table("on the way from each client's model to the global one", _ways(last))
    if len(last.clients) > _MOST_CLIENTS:
        say(f"and {len(last.clients) - _MOST_CLIENTS} more clients, which the means include")
    say_table("what follows", _derived(found))
    for line in _warnings(found):
        say(line)
    say_paragraph(_EXPLAINED)


def _models(found: LocalAgainstGlobal) -> Table:
    """A row for each model on each data, and the means over clients."""
    made = table("model", "data", *_CELLS, texts=2)
    for number, client in enumerate(found.clients[:_MOST_CLIENTS]):
        name = f"client {client}"
        made.add_row(name, name, *_cells(found.local[number]))
        made.add_row(name, "all", *_cells(found.local_on_all[number]))
        made.add_row("global", name, *_cells(found.received[number]))
    made.add_row("clients' mean", "own", *_mean_cells(found, found.local))
    made.add_row("clients' mean", "all", *_mean_cells(found, found.local_on_all))
    made.add_row("global", "own, mean", *_mean_cells(found, found.received))
    made.add_row("global", "all", *_cells(found.whole))
    return made


def _ways(found: LocalAgainstGlobal) -> Table:
    """A row for each client: its share, its distance and the barrier."""
    made = table("", "share of samples", "distance ‖y − w‖", "to the mean", "barrier")
    averaging = found.averaging
    for number, client in enumerate(found.clients[:_MOST_CLIENTS]):
        made.add_row(
            f"client {client}",
            percent(found.shares[number]),
            f"{averaging.distance[number]:.4g}",
            f"{averaging.distance_to_mean[number]:.4g}",
            barrier_in_words(averaging.barrier[number]),
        )
    return made


_EXPLAINED = (
    "All data: those of the round's clients. Means are weighted by samples. λ gap, trace gap, "
    "flatness gap: the global model on all data - the clients' own models on their own data, of "
    "λ_max, trace and sharpness: above 0, what is flat for the clients is less flat for the "
    "federation. Inconsistency: the global model's sharpness on each client's data, in the mean, - "
    "that on all data; where its gradient there is not 0 it measures gradients. Of λ: the same of "
    "λ_max. Distance: of the clients' models to their mean, root mean square. Gain of averaging: "
    "loss of the mean model - mean loss, on all data; below 0, averaging helps. Barrier: the "
    "highest rise of the loss on the way to the global model, with buffers interpolated. "
    "Sharpness and barrier are lower bounds. Errors below a tenth of a number are left out."
)


def _cells(cell: Cell) -> Iterator[str]:
    for figure in (cell.lambda_max, cell.trace, cell.sharpness, cell.gradient_norm, cell.loss):
        yield f"{figure:.4g}"
    yield percent(cell.accuracy)


def _mean_cells(found: LocalAgainstGlobal, cells: Sequence[Cell]) -> Iterator[str]:
    for name in ("lambda_max", "trace", "sharpness", "gradient_norm", "loss"):
        yield f"{found.mean(cells, name):.4g}"
    yield percent(found.mean(cells, "accuracy"))


def _derived(found: Sequence[LocalAgainstGlobal]) -> Table:
    """A row for each round."""
    gaps = ("λ gap", "trace gap", "flatness gap")
    made = table("round", *gaps, "inconsistency", "of λ", "distance", "gain", "barrier")
    for one in found:
        made.add_row(
            str(one.round),
            estimate(one.gap("lambda_max")),
            estimate(one.gap("trace")),
            estimate(one.gap("sharpness")),
            estimate(one.inconsistency),
            estimate(one.curvature_inconsistency),
            f"{one.distance:.3g}",
            f"{one.averaging_gain:.3g}",
            barrier_in_words(one.barrier),
        )
    return made


def _warnings(found: Sequence[LocalAgainstGlobal]) -> Iterator[str]:
    """Lines for values that cannot be: errors made them so."""
    for one in found:
        for name, value in (
            ("inconsistency", one.inconsistency.value),
            ("λ_max inconsistency", one.curvature_inconsistency.value),
        ):
            if value < 0:
                yield (
                    f"round {one.round}: {name} {value:.3g} is below 0, where it cannot be: "
                    "it is smaller than the errors of its parts"
                )


def estimate(found: Estimate) -> str:
    """A number, with its error where that is more than a tenth of it."""
    if 10 * found.error <= abs(found.value):
        return f"{found.value:.3g}"
    return f"{found.value:.2g} ± {found.error:.1g}"
