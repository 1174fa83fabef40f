"""Features in a run's hessian.h5: kept by `mpifl features`, read by `mpifl report`."""

from __future__ import annotations

import numpy as np

from mpifl.analysis.kept import keep
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Facts, Finding, Findings

MEASUREMENT = "features"

_NEEDED = ("client", "activation", "spectrum", "effective_rank", "feature_norm", "accuracy")


def keep_features(run: Run, found: dict[str, np.ndarray], settings: Facts) -> None:
    """Keep what `features` returned for a run, in place of what was kept before."""
    last = int(found["round"].max())
    keep(run, MEASUREMENT, settings, {f"round_{last:06d}/models/features": Finding(found)})


def has_features(findings: Findings) -> bool:
    """Whether any were kept."""
    return bool(findings.under(MEASUREMENT))


def features_of(findings: Findings) -> dict[str, np.ndarray]:
    """What was kept, as `features` returned it. Raises BadInput if something is missing."""
    try:
        return _arrays(findings)
    except (KeyError, ValueError) as problem:
        raise BadInput(
            f"{findings.file}: expected features as `mpifl features` keeps them; got {problem}; "
            "compute them again"
        ) from problem


def _arrays(findings: Findings) -> dict[str, np.ndarray]:
    [finding] = findings.under(MEASUREMENT).values()
    found = dict(finding.arrays)
    found["site"] = np.array([str(name) for name in found["site"]])
    for name in _NEEDED:
        if len(found[name]) != len(found["round"]):
            raise ValueError(f"{len(found[name])} values of {name}")
    return found
