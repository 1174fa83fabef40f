"""Local models against the global one, as panels: is what is flat for a client flat for all?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.flatness.comparison import LocalAgainstGlobal

_MEASURES = {"λ_max": "lambda_max", "trace H_T": "trace", "sharpness": "sharpness"}
"""by their names in the figure: the fields of a Cell"""

_ON_ALL = "clients' models on all data"
_RECEIVED = "global model on the clients' data"
_WHOLE = "global model on all data"
_OWN = "clients' models on their own data"


def local_global_panels(found: Sequence[LocalAgainstGlobal], run: str) -> list[Panel]:
    """Three panels by round, if there are several, and three of the last round's clients.

    By round: means over clients, weighted by samples. Of clients, a point each: across, the
    client's own model on its own data; up, that model on all data, the global model on the
    client's data, and the global model on all data. Points above the line x = y: what is flat
    for the client is less flat there. `run`: its name.
    """
    panels = []
    if len(found) > 1:
        for title, name in _MEASURES.items():
            panels.append(_by_round(found, title, name, run))
    for title, name in _MEASURES.items():
        panels.append(_of_clients(found[-1], title, name, run))
    return panels


def _by_round(found: Sequence[LocalAgainstGlobal], title: str, name: str, run: str) -> Panel:
    rounds = np.array([one.round for one in found], "f8")

    def trace(label: str, value: Callable[[LocalAgainstGlobal], float]) -> Trace:
        return Trace(label, rounds, np.array([[value(one) for one in found]]), [run])

    traces = [
        trace(_ON_ALL, lambda one: one.mean(one.local_on_all, name)),
        trace(_RECEIVED, lambda one: one.mean(one.received, name)),
        trace(_WHOLE, lambda one: getattr(one.whole, name)),
        trace(_OWN, lambda one: one.mean(one.local, name)),
    ]
    return Panel("round", title, traces, "mean over clients", from_zero=True)


def _of_clients(found: LocalAgainstGlobal, title: str, name: str, run: str) -> Panel:
    own = np.array([getattr(cell, name) for cell in found.local])
    clients = [f"client {client}" for client in found.clients]

    def trace(label: str, values: Sequence[float]) -> Trace:
        return Trace(label, own, np.array([values]), [run], texts=[clients])

    traces = [
        trace(_ON_ALL, [getattr(cell, name) for cell in found.local_on_all]),
        trace(_RECEIVED, [getattr(cell, name) for cell in found.received]),
        trace(_WHOLE, [getattr(found.whole, name)] * len(clients)),
    ]
    across = f"{title}, own model on own data"
    heading = f"clients at round {found.round}"
    return Panel(across, title, traces, heading, whole=False, line=False, diagonal=True)
