"""H_N and H_D of a round's clients, from what has been found of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mpifl.analysis.models.reload_mpi import Subject
from mpifl.curvature import Diagonal, Disagreement, as_released, disagreement
from mpifl.options import BadInput
from mpifl.store.measurements import Finding, Findings


def compared(
    findings: Findings, measurement: str, protocol: str, clients: Sequence[Subject]
) -> Finding | None:
    """The finding about the clients together; None where they are fewer than two, or one is not
    measured yet.

    Protocol exact compares element-wise diagonals over pairs of different clients; fedalign a trace
    for each tensor, over all pairs. Raises BadInput where a diagonal is missing.
    """
    paths = [f"{measurement}/{client.path}" for client in clients]
    quantity = {"exact": "diagonal", "fedalign": "trace"}[protocol]
    parts = [findings.found.get(f"{path}/{quantity}") for path in paths]
    if len(clients) < 2 or None in parts:
        return None
    if protocol == "fedalign":
        traces = torch.from_numpy(np.stack([part["tensor_trace"] for part in parts]))
        return _finding(as_released(traces), clients, "all")
    diagonals = [_stored(findings, *given) for given in zip(paths, clients, parts, strict=True)]
    return _finding(disagreement(diagonals), clients, "off_diagonal")


def _finding(found: Disagreement, clients: Sequence[Subject], pairs: str) -> Finding:
    arrays = {
        "H_N": found.H_N.value,
        "H_N_error": found.H_N.error,
        "H_D": found.H_D.value,
        "H_D_error": found.H_D.error,
        "differences": found.differences.numpy(),
        "cosines": found.cosines.numpy(),
        "clients": np.array([client.client for client in clients], "i8"),
    }
    return Finding(arrays, {"pairs": pairs})


def _stored(findings: Findings, path: str, client: Subject, finding: Finding) -> Diagonal:
    vectors = findings.vectors(path, client.sha256)
    if not vectors or "diagonal" not in vectors:
        where = findings.vectors_file(path)
        raise BadInput(
            f"{where}: expected the diagonal of {client.label}; got none; measure again (--again)"
        )
    mean, variance = (torch.from_numpy(vectors[name]) for name in ("diagonal", "variance"))
    return Diagonal(mean, variance, torch.from_numpy(finding["parts"]))
