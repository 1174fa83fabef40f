"""One `mpifl hessian`, on all ranks of the job: from a run's path to findings in its hessian.h5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mpifl.analysis.flatness.averaging import measure_averaging
from mpifl.analysis.flatness.cohort import Cohort, cohort_of
from mpifl.analysis.flatness.comparison import comparisons
from mpifl.analysis.flatness.report import say_comparisons
from mpifl.analysis.hessian import report
from mpifl.analysis.hessian.follow import follow
from mpifl.analysis.hessian.measurement import Measurement
from mpifl.analysis.hessian.protocols import PROTOCOLS, Exact, Protocol
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import StoredModel, has_average, has_clients, select_rounds
from mpifl.config import override, parse
from mpifl.options import BadInput, validated
from mpifl.parallel.communicator import Communicator
from mpifl.runner.exit_codes import DONE, on_all_ranks
from mpifl.store import Run

_OF_PROTOCOL = ("samples", "data", "split", "top", "probes", "seed")
"""options of the command that are options of a protocol; None where they are not given"""


def main(path: str, options: dict[str, Any]) -> int:
    """Measure the run at `path` with the options of the command, and return the exit code."""
    return on_all_ranks(lambda communicator: _measure(communicator, path, options))


def _measure(communicator: Communicator, path: str, options: dict[str, Any]) -> int:
    communicator.agree(lambda: _check(options))
    protocol = communicator.agree(lambda: _protocol(options))
    session = HessianSession(communicator, protocol, options)
    if options["follow"]:
        patience = 60 * (options["patience"] or _PATIENCE)
        return follow(communicator, path, patience, session)
    run = communicator.agree(lambda: Run.open(path))
    with_clients = options["clients"] or options["local_against_global"]
    chosen = options["rounds"] or "last"
    rounds = communicator.agree(lambda: select_rounds(run, chosen, with_clients))
    session.measure(run, rounds)
    session.conclude()
    return DONE


_PATIENCE = 60
"""minutes"""


class HessianSession:
    """The measurement of one run, at once or as rounds are stored. All ranks make one."""

    def __init__(
        self, communicator: Communicator, protocol: Protocol, options: dict[str, Any]
    ) -> None:
        self.communicator = communicator
        self.protocol = protocol
        self.options = options
        self.measurement: Measurement | None = None
        self._quantities = [name for name in options["quantities"].split(",") if name]

    def check(self, run: Run) -> None:
        """Raise BadInput where a run will never store what is to be measured."""
        wanted = self.options["clients"] or self.options["local_against_global"]
        if wanted and parse(run.config, str(run.path))["results"]["clients_every"] == 0:
            raise BadInput(
                f"{run.path}: expected a run with results.clients_every=N, "
                "which stores its clients' models; got one without"
            )
        models = parse(run.config, str(run.path))["evaluation"]["models"]
        if self.options["average"] and "average" not in models:
            raise BadInput(
                f'{run.path}: expected a run with evaluation.models = ["average"], '
                f"which stores the average of the server's models; got {models}"
            )

    def measure(self, run: Run, rounds: Sequence[int]) -> None:
        """Measure what is not known yet of these stored rounds."""
        measurement = self._open(run)
        on_ranks = measurement.on_ranks
        cohorts: list[Cohort] = []
        models: list[StoredModel] = []
        if self.options["local_against_global"]:
            assert isinstance(self.protocol, Exact)
            for round in rounds:
                if has_clients(run, round):
                    cohorts.append(cohort_of(on_ranks, round, self.protocol))
        if self._each_model:
            with_clients = self.options["clients"] and self._any(has_clients, run, rounds)
            with_average = self.options["average"] and self._any(has_average, run, rounds)
            models = on_ranks.models(rounds, with_clients, with_average)
        tasks = measurement.tasks(models, self._quantities)
        for cohort in cohorts:
            tasks += measurement.tasks(cohort.cells())
        with report.progress(measurement, tasks) as report_finding:
            measurement.measure(tasks, report_finding)
            measurement.compare(models, report_finding)
            for cohort in cohorts:
                measure_averaging(measurement, cohort, report_finding)

    def conclude(self) -> None:
        """Print what is known."""
        measurement = self.measurement
        if measurement is None or not self.communicator.is_server:
            return
        if self._each_model:
            report.conclusion(measurement)
        else:
            report.written(measurement)
        found = comparisons(measurement.findings, measurement.name)
        if self.options["local_against_global"] and found:
            say_comparisons(f"{measurement.run.path}, {measurement.name}", found)

    def _open(self, run: Run) -> Measurement:
        """The measurement, of the run as it is now."""
        if self.measurement is not None:
            on_ranks = self.measurement.on_ranks.renewed(run)
            self.measurement = Measurement(on_ranks, self.protocol, self.options["name"])
            return self.measurement
        on_ranks = RunOnRanks(
            run,
            self.communicator,
            data_path=self.options["data_path"],
            plugins=self.options["plugins"],
            unfinished=self.options["unfinished"] or self.options["follow"],
            precision=self.options["precision"],
        )
        self.measurement = Measurement(
            on_ranks, self.protocol, self.options["name"], self.options["again"]
        )
        return self.measurement

    @property
    def _each_model(self) -> bool:
        """Whether models are measured each by itself, on the samples of the protocol."""
        wanted = self.options["clients"] or self.options["average"]
        return wanted or not self.options["local_against_global"]

    def _any(self, stores: Callable[[Run, int], bool], run: Run, rounds: Sequence[int]) -> bool:
        """Whether to look for what a round `stores`.

        While a run goes on, rounds without it may come first.
        """
        if not self.options["follow"]:
            return True
        return any(stores(run, round) for round in rounds)


def _check(options: dict[str, Any]) -> None:
    """Raise BadInput for options that do not go together."""
    if options["follow"] and options["rounds"] not in (None, "all"):
        raise BadInput(
            f"--follow: expected --rounds all, each round as it is stored; got {options['rounds']}"
        )
    if options["patience"] is not None and not options["follow"]:
        raise BadInput("--patience: expected with --follow; got it alone")
    if not options["local_against_global"]:
        return
    for name, allowed in (("protocol", "exact"), ("split", "train"), ("data", None)):
        if options[name] not in (None, allowed):
            got = f"--{name} {options[name]}"
            fits = f"--{name} {allowed}" if allowed else f"no --{name}"
            raise BadInput(f"--local-against-global: expected {fits}; got {got}")
    if options["quantities"] and not options["clients"]:
        raise BadInput(
            "--local-against-global: expected no --quantities, for it measures what it compares; "
            f"got {options['quantities']}"
        )


def _protocol(options: dict[str, Any]) -> Protocol:
    """The protocol with the options that were given; raises BadInput."""
    name = options["protocol"]
    given = {key: options[key] for key in _OF_PROTOCOL if options[key] is not None}
    return validated(PROTOCOLS[name], override(given, options["given"]), name)
