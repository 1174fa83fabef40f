"""One `mpifl hessian`, on all ranks of the job: from a run's path to findings in its hessian.h5."""

from __future__ import annotations

from typing import Any

from mpifl.analysis.hessian import report
from mpifl.analysis.hessian.measurement import Measurement
from mpifl.analysis.hessian.protocols import PROTOCOLS, Protocol
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import select_rounds
from mpifl.config import override
from mpifl.options import validated
from mpifl.parallel.communicator import Communicator
from mpifl.runner.exit_codes import DONE, on_all_ranks
from mpifl.store import Run

_OF_PROTOCOL = ("samples", "data", "split", "top", "probes", "seed")
"""options of the command that are options of a protocol; None where they are not given"""


def main(path: str, options: dict[str, Any]) -> int:
    """Measure the run at `path` with the options of the command, and return the exit code."""
    return on_all_ranks(lambda communicator: _measure(communicator, path, options))


def _measure(communicator: Communicator, path: str, options: dict[str, Any]) -> int:
    protocol = communicator.agree(lambda: _protocol(options))
    run = communicator.agree(lambda: Run.open(path))
    with_clients = options["clients"]
    rounds = communicator.agree(lambda: select_rounds(run, options["rounds"], with_clients))
    on_ranks = RunOnRanks(
        run,
        communicator,
        data_path=options["data_path"],
        plugins=options["plugins"],
        unfinished=options["unfinished"],
        precision=options["precision"],
    )
    models = on_ranks.models(rounds, with_clients)
    measurement = Measurement(on_ranks, protocol, options["name"], options["again"])
    quantities = [name for name in options["quantities"].split(",") if name]
    tasks = measurement.tasks(models, quantities)
    with report.progress(measurement, tasks) as report_finding:
        measurement.measure(tasks, report_finding)
        measurement.compare(models, report_finding)
    if communicator.is_server:
        report.conclusion(measurement)
    return DONE


def _protocol(options: dict[str, Any]) -> Protocol:
    """The protocol with the options that were given; raises BadInput."""
    name = options["protocol"]
    given = {key: options[key] for key in _OF_PROTOCOL if options[key] is not None}
    return validated(PROTOCOLS[name], override(given, options["given"]), name)
