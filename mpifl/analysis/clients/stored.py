"""Features in a run's hessian.h5: kept by `mpifl features`, read by `mpifl report`."""

from __future__ import annotations

import numpy as np

from mpifl.analysis.kept import keep
from mpifl.store import Run
from mpifl.store.measurements import Facts, Finding, Findings

MEASUREMENT = "features"


def keep_features(run: Run, found: dict[str, np.ndarray], settings: Facts) -> None:
    """Keep what `features` returned for a run, in place of what was kept before."""
    last = int(found["round"].max())
    keep(run, MEASUREMENT, settings, {f"round_{last:06d}/models/features": Finding(found)})


def has_features(findings: Findings) -> bool:
    """Whether any were kept."""
    return bool(findings.under(MEASUREMENT))


def features_of(findings: Findings) -> dict[str, np.ndarray]:
    """What was kept, as `features` returned it."""
    [finding] = findings.under(MEASUREMENT).values()
    found = dict(finding.arrays)
    found["site"] = np.array([str(name) for name in found["site"]])
    return found
