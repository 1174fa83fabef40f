"""One `mpifl finetune`, on all ranks of the job: from a run's path to a finding and a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpifl.analysis.fine_tuning.tuning import FineTuner, Settings
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import select_rounds
from mpifl.options import adapter, validated
from mpifl.parallel.communicator import Communicator
from mpifl.runner.exit_codes import DONE, on_all_ranks
from mpifl.store import Run, sha256
from mpifl.store.measurements import Finding, Findings
from mpifl.terminal import percent, plural, progress_bar, say, say_table, table
from mpifl.training.generalisation import over_clients

QUANTITY = "global/fine_tuning"
"""the end of a finding's path"""


def main(path: str, options: dict[str, Any]) -> int:
    """Fine-tune the run at `path` with the options of the command, and return the exit code."""
    return on_all_ranks(lambda communicator: _session(communicator, path, options))


def _session(communicator: Communicator, path: str, options: dict[str, Any]) -> int:
    run = communicator.agree(lambda: Run.open(path))
    rounds = communicator.agree(lambda: select_rounds(run, options["rounds"]))
    given = {name: options[name] for name in ("epochs", "lr", "part", "changes")}
    settings = communicator.agree(lambda: validated(Settings, given, "finetune"))
    on_ranks = RunOnRanks(
        run,
        communicator,
        data_path=options["data_path"],
        plugins=options["plugins"],
        unfinished=options["unfinished"],
    )
    findings = communicator.agree(lambda: Findings.open(run))
    name = options["name"]
    if options["again"]:
        findings.forget(name)
    facts = {
        **adapter(Settings).dump_python(settings),
        "changes": list(settings.changes),
        "data_checksum": on_ranks.reloaded.dataset.checksum,
    }
    communicator.agree(lambda: findings.begin(name, facts))
    for round in rounds:
        _of_round(on_ranks, findings, name, round, settings)
    if communicator.is_server:
        _report(findings, name, rounds)
    return DONE


def _of_round(
    on_ranks: RunOnRanks, findings: Findings, name: str, round: int, settings: Settings
) -> None:
    """Fine-tune the model of a round, unless that is known."""
    communicator = on_ranks.communicator
    path = f"{name}/round_{round:06d}/{QUANTITY}"
    weights = sha256(*on_ranks.reloaded.weights(round))
    known = findings.found.get(path)
    is_known = known is not None and known.facts.get("weights_sha256") == weights
    if communicator.bcast(is_known):
        return
    tuner = communicator.agree(lambda: FineTuner(on_ranks, round, settings))
    if communicator.is_server:
        say(_announcement(on_ranks, tuner, round))
    clients = len(tuner.held.training) // communicator.size
    with progress_bar("clients", clients, communicator.size == 1) as advance:
        finding = communicator.agree(lambda: tuner.tune(advance))
    facts = {"weights_sha256": weights, "lr": tuner.local.lr}
    whole = Finding(finding.arrays, facts)

    def on_server() -> None:
        if communicator.is_server:
            findings.add(path, whole)

    communicator.agree(on_server)


def _announcement(on_ranks: RunOnRanks, tuner: FineTuner, round: int) -> str:
    skipped = len(tuner.skipped)
    clients = len(tuner.held.training) - skipped
    words = (
        f"{on_ranks.run.path}: round {round}, {plural(clients, 'client')} on "
        f"{plural(on_ranks.communicator.size, 'rank')}, {plural(tuner.local.epochs, 'epoch')} at "
        f"lr {tuner.local.lr:.3g}"
    )
    if tuner.settings.part == "head":
        words += ", of the last layer"
    if skipped:
        words += f"; {plural(skipped, 'client')} with too few samples left out"
    return words


def _report(findings: Findings, name: str, rounds: list[int]) -> None:
    """Print what fine-tuning is worth: for clients that trained, and for those that never did."""
    for round in rounds:
        finding = findings.found[f"{name}/round_{round:06d}/{QUANTITY}"]
        made = table("clients", "test", "before", "after", "worst tenth", "after", "worse", texts=2)
        for words, of in (("train", finding["trains"] > 0), ("unseen", finding["trains"] == 0)):
            for row in _rows(finding, of):
                made.add_row(words, *row)
        say_table(f"{findings.run.path}, {name}, round {round}: accuracy, mean over clients", made)
    say(f"written to {findings.file}")


def _rows(finding: Finding, of: np.ndarray) -> list[list[str]]:
    """A row of cells for each kind of test samples, of the clients `of` (bool [C])."""
    of = of & (finding["steps"] > 0)
    rows = []
    samples = finding["own_samples"]
    own = of & (samples > 0)
    if own.any():
        before = finding["own_before"][own] / samples[own]
        rows.append(_cells("own set", before, finding["own_after"][own] / samples[own]))
    seen = of & ~np.isnan(finding["skewed_after"])
    if seen.any():
        skewed = finding["skewed_before"][seen], finding["skewed_after"][seen]
        rows.append(_cells("own classes", *skewed))
    if of.any():
        tested = float(finding["test_samples"])
        after = finding["test_after"][of] / tested
        before = np.full(len(after), float(finding["test_before"]) / tested)
        rows.append(_cells("whole set", before, after))
    return rows


def _cells(what: str, before: np.ndarray, after: np.ndarray) -> list[str]:
    """Means over clients, those of the worst tenth, and how many clients became worse."""
    each = np.ones(len(before))
    first = over_clients(before, each)
    then = over_clients(after, each)
    worse = int((after < before).sum())
    return [
        what,
        percent(first.mean),
        percent(then.mean),
        percent(first.worst),
        percent(then.worst),
        f"{worse} of {len(before)}",
    ]
