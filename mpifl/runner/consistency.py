"""Whether all ranks have the same software, config, data, clients and model: compared once, before
the first round.
"""

from __future__ import annotations

import hashlib
import json
import platform
import socket
import tomllib
from collections.abc import Mapping

import numpy as np
import torch

import mpifl
from mpifl.config import flat
from mpifl.data.dataset import Dataset
from mpifl.net import digest
from mpifl.parallel.communicator import AgreedBadInput, Communicator
from mpifl.training.experiment import Experiment

Facts = Mapping[str, str]
"""what must be the same on all ranks: value by name"""

_MAY_DIFFER = "runtime."
"""the options with which each rank may choose where it computes"""


def of_config(text: str) -> dict[str, str]:
    """The versions of the software, and the options of a config (a TOML text)."""
    facts = {
        "version of mpifl": mpifl.__version__,
        "version of torch": torch.__version__,
        "version of numpy": np.__version__,
        "version of python": platform.python_version(),
    }
    for key, value in flat(tomllib.loads(text)).items():
        if not key.startswith(_MAY_DIFFER):
            facts[key] = repr(value)
    return facts


def of_experiment(experiment: Experiment, dataset: Dataset) -> dict[str, str]:
    """The data, the partition, and the layout and types of the flat vectors."""
    net = experiment.clients.net
    parts = experiment.partition
    partition = hashlib.sha256(parts.indices.tobytes())
    partition.update(parts.offsets.tobytes())
    facts = {
        "checksum of the data": dataset.checksum,
        "SHA-256 of the partition": partition.hexdigest(),
        "type of the weights": str(net.weights.dtype),
        "type of the buffers": str(net.buffers.dtype),
    }
    if experiment.stores_start:
        facts["SHA-256 of the first weights"] = digest(net.weights, net.buffers, net.frozen)
    for entry in net.layout:
        facts[f"{entry.kind} {entry.name}"] = f"shape {tuple(entry.shape)} at {entry.offset}"
    return facts


def refuse_differences(communicator: Communicator, facts: Facts) -> None:
    """Raise AgreedBadInput, on all ranks, where a rank's `facts` differ from the server's.

    Each rank sends a digest; the facts themselves are gathered only where digests differ.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
    communicator.arrive()
    digests = communicator.allgather(digest)
    if len(set(digests)) > 1:
        found = communicator.allgather((socket.gethostname(), dict(facts)))
        raise AgreedBadInput(_first_difference(found))


def _first_difference(found: list[tuple[str, Facts]]) -> str:
    """What differs first, on the first rank that differs; `found` has ranks' hosts and facts."""
    server, expected = found[0]
    differing = [rank for rank, (_, facts) in enumerate(found) if facts != expected]
    host, facts = found[differing[0]]
    names = {**expected, **facts}
    name = next(name for name in names if expected.get(name) != facts.get(name))
    return (
        f"rank {differing[0]} on {host}: {name}: expected {expected.get(name, 'none')}, as rank 0 "
        f"on {server} has; got {facts.get(name, 'none')} (so with {len(differing)} of {len(found)} "
        "ranks); give all ranks the same config, data and software"
    )
