"""What a run has cost, in the lines of `mpifl show`: operations, bytes, seconds, time of ranks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mpifl.analysis.runs import config_shown
from mpifl.store import Run
from mpifl.store.timeline import NAMES as TIMELINE
from mpifl.terminal import operations, plural, size


def _ranks(run: Run) -> Iterator[tuple[str, str]]:
    """What the server and the workers have spent their time on, in percent."""
    if not run.timeline:
        return
    kinds = [name for name in TIMELINE if name in run.timeline]
    spent = np.stack([np.nansum(run.timeline[name], axis=0) for name in kinds])
    groups = {"server": spent[:, :1], "workers": spent[:, 1:]}
    if spent.shape[1] == 1:
        groups = {"one rank": spent}
    words = []
    for who, of_ranks in groups.items():
        parts = of_ranks.sum(1) / max(of_ranks.sum(), 1e-9)
        shares = []
        for name, part in zip(kinds, parts, strict=True):
            if part >= 0.005:
                shares.append(f"{name} {100 * part:.0f} %")
        words.append(f"{who}: {', '.join(shares)}")
    yield "time of ranks", "; ".join(words)


def _training(run: Run) -> Iterator[tuple[str, str]]:
    """What a step takes and holds; nothing for runs of before 0.2."""
    known = run.attrs
    if "flops_sample" not in known:
        return
    step = known["flops_once"] + known["flops_sample"] * known["flops_batch"]
    words = f"{operations(step)} a step of {plural(known['flops_batch'], 'sample')}"
    if known["flops_draws"] > 1:
        words += f" (mean over {known['flops_draws']} draws)"
    yield "training", f"{words}, {operations(known['flops_forward'])} a sample of the test"
    trained = known["parameters_trained"]
    yield "numbers held", f"{known['parameters_held']:,} by a client, of which {trained:,} train"


def _steps(run: Run) -> Iterator[tuple[str, str]]:
    """How many local steps were recorded ones; nothing for runs of before 0.2."""
    if "steps_taken" not in run.rounds:
        return
    is_known = run.rounds["steps_taken"] >= 0
    taken = run.rounds["steps_taken"][is_known].sum()
    replayed = run.rounds["steps_replayed"][is_known].sum()
    if taken:
        yield "local steps", f"{taken:,} in all, {100 * replayed / taken:.0f} % of them replayed"


def _lanes(run: Run) -> Iterator[tuple[str, str]]:
    """How many clients a rank trained at once; nothing where that is one, as the config says."""
    if "lanes" not in run.rounds:
        return
    rounds = run.rounds["round"]
    lanes = run.rounds["lanes"]
    wanted = config_shown.parsed(run.config).get("runtime", {}).get("lanes")
    if wanted != "auto" and lanes.max(initial=1) == 1:
        return
    begins = np.flatnonzero(np.diff(lanes, prepend=-1))
    words = [f"{lanes[place]} from round {rounds[place]}" for place in begins]
    yield "lanes of a rank", ", ".join(words)


def lines(run: Run) -> Iterator[tuple[str, str]]:
    """What training takes, and each cost: its mean and its sum over the rounds."""
    yield from _training(run)
    for name, column in run.rounds.items():
        title = name.replace("_", " ")
        if name.startswith("seconds") and np.isfinite(column).any():
            mean = np.nanmean(column)
            total = np.nansum(column)
            yield title, f"mean {mean:.3g} a round, {total:.4g} in all"
        elif name.startswith("bytes") and (column >= 0).any():
            known = column[column >= 0]
            yield title, f"mean {size(known.mean())} a round, {size(known.sum())} in all"
        elif name == "flops" and np.isfinite(column).any():
            known = column[np.isfinite(column)]
            in_all = operations(known.sum())
            yield "training took", f"mean {operations(known.mean())} a round, {in_all} in all"
    yield from _steps(run)
    yield from _lanes(run)
    yield from _ranks(run)
