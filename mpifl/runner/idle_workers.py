"""Workers that a run cannot use."""

from __future__ import annotations

from mpifl.runner.schema import Config
from mpifl.terminal import plural


def idle_workers(config: Config, ranks: int) -> str | None:
    """A sentence about workers that never get a client; None if there are none.

    Beside the server, a round keeps at most as many workers busy as it has clients.
    """
    largest = config.participation.largest_cohort(config.clients)
    if config.algorithm.pool is not None:
        largest = 1
    idle = ranks - 1 - largest
    if idle <= 0:
        return None
    clients = plural(largest, "client")
    return (
        f"{idle} of {plural(ranks - 1, 'worker')} never train: a round has at most {clients}; "
        f"{largest + 1} ranks are enough"
    )
