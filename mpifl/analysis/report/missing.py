"""What the runs lack for a full report, and the commands that would add it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mpifl.analysis.clients.stored import has_features
from mpifl.analysis.flatness.comparison import comparisons
from mpifl.analysis.hessian.metrics import GLOBAL, metrics
from mpifl.analysis.landscape.stored import has_landscapes
from mpifl.analysis.report import blocks
from mpifl.analysis.report.blocks import Section
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.runs.series import has
from mpifl.store import Run
from mpifl.store.measurements import Findings

How = Literal["together", "each", "trains"]
"""the command takes all runs at once, or one after the other, or trains a new run for each"""


_MOST_LANDSCAPES = 4
"""runs, of different methods, whose landscape is asked for"""


@dataclass(frozen=True)
class Lack:
    """Something that some runs lack."""

    what: str
    command: str
    """a shell command without the runs; where it trains, options of the config"""
    runs: Sequence[Run]
    how: How = "together"
    suffix: str = ""
    """what is added to the folder's name, where it trains"""


def missing(compared: Compared) -> Section:
    """One short list; no section where nothing is missing."""
    section = Section("missing", "What is not here, and how to add it")
    for lack in lacks(compared):
        of = f" ({len(lack.runs)} of {len(compared.runs)} runs)"
        is_all = len(lack.runs) == len(compared.runs)
        section.parts.append(blocks.paragraph(lack.what + ("" if is_all else of)))
        section.parts.append(blocks.verbatim(command_of(lack)))
    return section


def lacks(compared: Compared) -> Iterator[Lack]:
    """What is missing, in the order of the report."""

    def lacking(has_it: Callable[[Run], bool]) -> list[Run]:
        return [run for run in compared.runs if not has_it(run)]

    def found(is_there: Callable[[Findings], bool]) -> Callable[[Run], bool]:
        return lambda run: (
            run.run_id in compared.findings and is_there(compared.findings[run.run_id])
        )

    yield from _trained_anew(lacking)
    without_models = lacking(lambda run: bool(run.saved_rounds))
    if without_models:
        what = "Weights, for curvature, landscape and features: runs that store them."
        yield Lack(what, "results.weights_every=10", without_models, "trains", "weights")
    runs = [run for run in lacking(found(_has_curvature)) if run.saved_rounds]
    if runs:
        yield Lack("Curvature and spectra.", "mpifl hessian", runs, "each")
    first = [group.runs[0] for group in compared.groups[:_MOST_LANDSCAPES]]
    with_none = lacking(found(has_landscapes))
    runs = [run for run in first if run in with_none and run.saved_rounds]
    if runs:
        yield Lack("The landscape around the model.", "mpifl landscape", runs)
    runs = [run for run in lacking(found(has_features)) if run.saved_rounds]
    if runs:
        yield Lack("Features and activations.", "mpifl features --what features", runs)
    yield from _local_against_global(lacking(found(lambda one: bool(comparisons(one)))))


def command_of(lack: Lack) -> str:
    """The exact command: for one run, or a loop over several."""
    paths = [str(run.path) for run in lack.runs]
    quoted = [shlex.quote(path) for path in paths]
    listed = " \\\n    ".join(quoted)
    if lack.how == "trains":
        line = "mpirun -n 3 mpifl run {} " + lack.command + " --out {}"
        if len(paths) == 1:
            return line.format(quoted[0], shlex.quote(f"{paths[0]}-{lack.suffix}"))
        loop = line.format('"$run"', f'"$run-{lack.suffix}"')
    elif len(paths) == 1 or lack.how == "together":
        return f"{lack.command} {listed}"
    else:
        loop = f'{lack.command} "$run"'
    return f"for run in {listed}\ndo\n  {loop}\ndone"


def _trained_anew(lacking: Callable[[Callable[[Run], bool]], list[Run]]) -> Iterator[Lack]:
    """What only a new run can measure."""
    runs = lacking(lambda run: has(run, "generalisation_gap"))
    if runs:
        what = "The gap to the training samples: runs that are tested on these too."
        yield Lack(what, "evaluation.train_every=10", runs, "trains", "gap")
    runs = lacking(lambda run: has(run, "own_accuracy"))
    if runs:
        what = "Accuracy on clients' own test sets: runs that hold some samples of each client out."
        yield Lack(what, "holdout.ratio=4", runs, "trains", "own-tests")
    runs = lacking(lambda run: has(run, "participation_gap"))
    if runs:
        what = "The participation gap: runs in which some clients never train."
        yield Lack(what, "holdout.ratio=4 holdout.clients=0.2", runs, "trains", "unseen")


def _local_against_global(runs: Sequence[Run]) -> Iterator[Lack]:
    """For runs that store clients' models a measurement; for others a new run first."""
    ready = [run for run in runs if _has_client_models(run)]
    if ready:
        what = "Local models against the global one."
        yield Lack(what, "mpifl hessian --local-against-global", ready, "each")
    others = [run for run in runs if not _has_client_models(run)]
    if others:
        what = (
            "Clients' models, for local against global: runs that store them; then "
            "mpifl hessian --local-against-global."
        )
        yield Lack(what, "results.clients_every=10", others, "trains", "clients")


def _has_curvature(findings: Findings) -> bool:
    return any(row.client == GLOBAL for row in metrics(findings))


def _has_client_models(run: Run) -> bool:
    return any("client_ids" in names for names in run.saved_arrays.values())
