"""`mpifl show`: a run as text. Its config, progress, accuracy curve, partition, costs, digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from mpifl.analysis.runs import config_shown, costs_shown, progress_shown, provenance_shown
from mpifl.analysis.runs.character_plots import plot
from mpifl.analysis.runs.columns import evaluated
from mpifl.store import Run, notes, sha256
from mpifl.store.run_folder import MODELS
from mpifl.store.watching import why_dead
from mpifl.terminal import Table, facts, styled

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST_PLOT = 100
_PLOT_HEIGHT = 15


def show(run: Run, console: Console, config: bool = False) -> None:
    """Print a summary of `run`, with its stored config if `config` is set.

    The last line is `sha256 ` and a hex digest: of the last saved weights; else, also where their
    file is absent, the one stored in the last row of /rounds; else `none`.
    """
    from mpifl.analysis.runs import measures_shown

    stored = config_shown.parsed(run.config)
    told, is_whole = config_shown.short(stored)
    console.print(styled(f"{stored.get('name', run.path.name)}: {_status(run)}", "bold"))
    above = [("run", str(run.path)), *config_shown.lines(told)]
    above += [*progress_shown.lines(run, stored), *measures_shown.lines(run)]
    console.print(_grid(above))
    if not is_whole:
        console.print(styled("(options that are not shown have their defaults: --config)"))
    curve = accuracy_curve(run, min(console.width, _WIDEST_PLOT), console.encoding)
    if curve:
        console.print(styled("\n" + curve), no_wrap=True, crop=False)
    console.print()
    below = [*_partition(run), *costs_shown.lines(run), *provenance_shown.lines(run)]
    console.print(_grid(below))
    written = notes.read(run)
    if written:
        console.print()
        console.print(_grid([(name.split(".")[0], text) for name, text in written]))
    if config:
        console.print()
        _print_as_is(console, config_shown.marked(run.config))
    console.print()
    note, digest = _digest(run)
    console.print(styled(note))
    _print_as_is(console, f"sha256 {digest}")


def accuracy_curve(run: Run, width: int, encoding: str = "utf-8") -> str:
    """The test accuracy by round, drawn with characters; "" before the first evaluation."""
    rounds, accuracy = evaluated(run)
    if not len(rounds):
        return ""
    return plot(rounds, accuracy, "test accuracy", width, _PLOT_HEIGHT, encoding)


def _status(run: Run) -> str:
    if run.status != "running":
        return run.status
    dead = why_dead(run)
    if dead:
        return f"dead: it says running, but {dead}; last written {run.attrs['updated']}"
    return f"running, last written {run.attrs['updated']}"


def _partition(run: Run) -> Iterator[tuple[str, str]]:
    sizes = np.diff(run.offsets)
    train = sizes > 0
    classes = (run.label_counts > 0).sum(1)[train]
    unseen = int((~train).sum())
    clients = str(len(classes))
    if unseen:
        clients += f", and {unseen} that never train"
    yield "clients", clients
    yield "samples per client", _spread(sizes[train])
    yield "classes per client", f"{_spread(classes)} of {run.label_counts.shape[1]}"


def _digest(run: Run) -> tuple[str, str]:
    """A line that says what the digest is of, and the digest."""
    stored = dict(zip(run.rounds["round"].tolist(), run.rounds.get("sha256", ()), strict=False))
    known = [(round, digest) for round, digest in stored.items() if digest]
    absent = run.absent_rounds()
    if run.saved_rounds and run.saved_rounds[-1] not in absent:
        last = run.saved_rounds[-1]
        digest = sha256(*run.weights())
        if stored.get(last, "") in ("", digest):
            return f"digest of the weights saved at round {last}:", digest
        warning = f"WARNING: the weights saved at round {last} are not those that were trained:"
        return warning, digest
    what = "no weights are saved"
    if absent:
        rounds = ", ".join(map(str, absent))
        what = f"the weights saved at round {rounds} are absent: {MODELS}/ was not copied"
    if known:
        return f"{what}; digest stored at round {known[-1][0]}:", known[-1][1]
    return f"{what}; no digest is stored:", "none"


def _spread(counts: np.ndarray) -> str:
    return f"min {counts.min()}, median {np.median(counts):g}, max {counts.max()}"


def _grid(rows: Iterable[tuple[str, str]]) -> Table:
    made = facts()
    for row in rows:
        made.add_row(*row)
    return made


def _print_as_is(console: Console, text: str) -> None:
    console.print(styled(text), soft_wrap=True)
