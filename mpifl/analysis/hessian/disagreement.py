"""H_N and H_D of a round's clients, computed from what was measured of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mpifl.analysis.models.stored import StoredModel
from mpifl.curvature import Diagonal, Disagreement, as_released, disagreement
from mpifl.options import BadInput
from mpifl.store.measurements import Facts, Finding, Findings

_COMPARED = {"exact": "diagonal", "fedalign": "trace"}
"""by protocol, the quantity that is compared"""


def compare_clients(
    findings: Findings, measurement: str, protocol: str, clients: Sequence[StoredModel]
) -> Finding | None:
    """Compare one round's clients; None for fewer than two, or while one is not measured.

    Protocol exact compares element-wise diagonals over pairs of different clients; fedalign one
    trace a tensor over all pairs. Raises BadInput where a stored diagonal is missing, and
    LostInNoise where errors are too large.
    """
    paths = [f"{measurement}/{client.path}" for client in clients]
    parts: list[Finding] = []
    for path in paths:
        finding = findings.found.get(f"{path}/{_COMPARED[protocol]}")
        if finding is None:
            return None
        parts.append(finding)
    if len(clients) < 2:
        return None
    if protocol == "fedalign":
        traces = torch.from_numpy(np.stack([part["tensor_trace"] for part in parts]))
        return _finding(as_released(traces), clients, {"pairs": "all"})
    diagonals = [_stored(findings, *given) for given in zip(paths, clients, parts, strict=True)]
    fewest = min(diagonal.probes for diagonal in diagonals)
    facts = {"pairs": "off_diagonal", "probes": fewest}
    return _finding(disagreement(diagonals), clients, facts)


def _finding(found: Disagreement, clients: Sequence[StoredModel], facts: Facts) -> Finding:
    arrays: dict[str, Any] = {
        "H_N": found.H_N.value,
        "H_N_error": found.H_N.error,
        "H_D": found.H_D.value,
        "H_D_error": found.H_D.error,
        "differences": found.differences.numpy(),
        "cosines": found.cosines.numpy(),
        "clients": np.array([client.client for client in clients], "i8"),
    }
    return Finding(arrays, facts)


def _stored(findings: Findings, path: str, client: StoredModel, finding: Finding) -> Diagonal:
    """A client's diagonal, read from the file of its long vectors."""
    vectors = findings.vectors(path, client.sha256)
    if "diagonal" not in vectors:
        where = findings.vectors_file(f"{path}/diagonal")
        raise BadInput(
            f"{where}: expected the diagonal of {client.label}; got none; measure again (--again)"
        )
    mean = torch.from_numpy(vectors["diagonal"])
    variance = torch.from_numpy(vectors["variance"])
    return Diagonal(mean, variance, torch.from_numpy(finding["parts"]))
