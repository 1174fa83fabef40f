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
from mpifl.parallel.communicator import AgreedBadInput, Communicator
from mpifl.training.experiment import Experiment

Facts = Mapping[str, str]
"""what must be the same: value by name"""


def of_config(text: str) -> dict[str, str]:
    """The versions of the software and the options of a config, a TOML text; each rank may compute
    where it likes.
    """
    versions = {"mpifl": mpifl.__version__, "torch": torch.__version__, "numpy": np.__version__}
    versions["python"] = platform.python_version()
    options = {
        key: repr(value)
        for key, value in flat(tomllib.loads(text)).items()
        if not key.startswith("runtime.")
    }
    return {f"version of {name}": version for name, version in versions.items()} | options


def of_experiment(x: Experiment, dataset: Dataset) -> dict[str, str]:
    """The data, the partition, and the layout and types of the flat vectors."""
    net, parts = x.clients.net, x.clients.parts
    partition = hashlib.sha256(parts.indices.tobytes())
    partition.update(parts.offsets.tobytes())
    facts = {
        "checksum of the data": dataset.checksum,
        "SHA-256 of the partition": partition.hexdigest(),
    }
    facts |= {
        "type of the weights": str(net.weights.dtype),
        "type of the buffers": str(net.buffers.dtype),
    }
    facts |= {f"{e.kind} {e.name}": f"shape {tuple(e.shape)} at {e.offset}" for e in net.layout}
    return facts


def refuse_differences(communicator: Communicator, facts: Facts) -> None:
    """AgreedBadInput where a rank's `facts` differ from the server's; a digest a rank is gathered,
    more only then.
    """
    own = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
    communicator.arrive()
    if len(set(communicator.allgather(own))) > 1:
        raise AgreedBadInput(_told(communicator.allgather((socket.gethostname(), dict(facts)))))


def _told(found: list[tuple[str, Facts]]) -> str:
    """The first difference, of the first rank that differs; `found` are each rank's host and facts."""
    server, expected = found[0]
    differing = [rank for rank, (_, facts) in enumerate(found) if facts != expected]
    host, facts = found[differing[0]]
    what = next(name for name in {**expected, **facts} if expected.get(name) != facts.get(name))
    return (
        f"rank {differing[0]} on {host}: {what}: expected {expected.get(what, 'none')}, as rank 0 on {server} has; got "
        f"{facts.get(what, 'none')} (so with {len(differing)} of {len(found)} ranks); give all ranks the same config, "
        "data and software"
    )
