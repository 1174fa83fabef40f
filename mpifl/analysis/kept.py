"""Keeping what an analysis has computed beside its run, so that `mpifl report` can show it."""

from __future__ import annotations

from collections.abc import Mapping

from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Facts, Finding, Findings
from mpifl.terminal import say


def keep(run: Run, measurement: str, settings: Facts, found: Mapping[str, Finding]) -> None:
    """Replace a measurement in the run's hessian.h5 by what was found, by path.

    Where that cannot be written, prints why to stderr: the figures are of use without it.
    """
    try:
        findings = Findings.open(run)
        findings.forget(measurement)
        findings.begin(measurement, settings)
        for path, finding in found.items():
            findings.add(f"{measurement}/{path}", finding)
    except BadInput as problem:
        say(f"mpifl: {problem}; not kept for `mpifl report`", error=True)
