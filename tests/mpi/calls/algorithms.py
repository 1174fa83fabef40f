"""Whole runs of every algorithm that remembers something, some of whose clients stay away."""

from __future__ import annotations

import tiny

from mpifl.algorithms import ALGORITHMS, SERVER_OPTIMIZERS
from mpifl.parallel.communicator import Communicator

PARTLY = {
    "rounds": 5,
    "clients": 5,
    "participation": {"kind": "bernoulli", "fraction": 0.5},
    "data": {"options": {"train": 41}},
    "partition": {"name": "dirichlet", "alpha": 1.0, "minimum": 3},
    "model": {"name": "mlp", "hidden": [8]},
}
PERSIST = {"momentum": 0.9, "momentum_state": "persist"}
NORMED = {"model": {"name": "lenet", "norm": "batch"}}
HEADED = {"model": {"name": "lenet", "norm": "batch", "projection": 4}}

CASES = {name: {"algorithm": {"name": name}} for name in ALGORITHMS}
CASES["fedbn"] |= NORMED
CASES |= {
    f"{name}, uniform": {"algorithm": {"name": name}, "objective": "uniform"}
    for name in ("scaffold", "feddc")
}
CASES |= {
    f"fedavg, {name}": {"algorithm": {"name": "fedavg", "server_optimizer": name}}
    for name in SERVER_OPTIMIZERS
}
CASES |= {
    "fedlesam, scaffold": {"algorithm": {"name": "fedlesam", "rule": "scaffold"}},
    "fedlesam, feddyn": {"algorithm": {"name": "fedlesam", "rule": "feddyn"}},
    "fedspeed, stale": {"algorithm": {"name": "fedspeed", "stale_ascent": True}},
    "fedavg, moon": {**HEADED, "local": {"loss": "ce + moon"}},
    "feddc, moon, momentum, buffers": {
        **HEADED,
        "algorithm": {"name": "feddc"},
        "buffers": "local",
        "local": {"loss": "mixup(ce + man) + moon", "gradient": "sam", **PERSIST},
    },
    "scaffold, all": {
        "rounds": 3,
        "algorithm": {"name": "scaffold", "server_optimizer": {"name": "yogi"}},
        "model": {"name": "resnet20", "norm": "batch", "projection": 4},
        "buffers": "pooled",
        "local": {
            "loss": "mixup(stochdepth(fedlc + man) + gradaug) + moon",
            "gradient": "asam",
            "clip": 10.0,
        },
    },
}


def digests(communicator: Communicator) -> dict[str, list]:
    """What identifies each round of each case; on workers, nothing."""
    return {name: tiny.digests({**PARTLY, **case}, communicator) for name, case in CASES.items()}
