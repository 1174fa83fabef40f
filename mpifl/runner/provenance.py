"""Where and with what a run was made: what a reader years later needs to know of its numbers."""

from __future__ import annotations

import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import mpifl
from mpifl.data.dataset import Dataset
from mpifl.net import Net, digest
from mpifl.parallel import launcher
from mpifl.parallel.communicator import Communicator
from mpifl.parallel.devices import processor
from mpifl.parallel.mpi import library
from mpifl.store.confidential import (
    SLURM_VARIABLES,
    publishable,
    redacted_words,
    secret_values,
)

_LIBRARIES = ("torch", "numpy", "h5py", "mpi4py")


Place = dict[str, Any]
"""where a rank runs: rank, role, host, device, processor, threads"""
Facts = dict[str, Any]
"""text, numbers and lists of them, by name"""


def role(communicator: Communicator) -> str:
    """Whether this rank is the server, a worker, or alone and so both."""
    if communicator.worker is None:
        return "server"
    if communicator.size > 1:
        return "worker"
    return "server, worker"


def name_of(device: torch.device) -> str:
    """The device with its maker's name.

    >>> name_of(torch.device("cpu")).startswith("cpu (")
    True
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device} ({name})"


def place(communicator: Communicator, device: torch.device) -> Place:
    """Where this rank runs, and with what."""
    return {
        "rank": communicator.rank,
        "role": role(communicator),
        "host": socket.gethostname(),
        "device": name_of(device),
        "processor": processor(),
        "threads": torch.get_num_threads(),
    }


def without_number(device: str) -> str:
    """A device's name without its number among the GPUs of its node.

    >>> without_number("cuda:3 (NVIDIA H200)"), without_number("cpu (x86_64)")
    ('cuda (NVIDIA H200)', 'cpu (x86_64)')
    """
    return re.sub(r"^cuda:\d+", "cuda", device)


def differing_devices(places: Sequence[Place]) -> str | None:
    """Why the bits depend on which rank does what; None where they do not.

    `places` have at least a device and a processor each.
    """
    kinds = set()
    for row in places:
        if row["device"].startswith("cuda"):
            kinds.add(without_number(row["device"]))
        else:
            kinds.add(f"CPU {row['processor']}")
    if len(kinds) < 2:
        return None
    return (
        f"ranks compute on different devices ({'; '.join(sorted(kinds))}), which round "
        "differently: the bits depend on which rank trains a client or tests a batch; devices of "
        "one kind would give the same at any number of ranks"
    )


def provenance(dataset: Dataset, net: Net, places: list[Place]) -> Facts:
    """All of it, for the run's folder, without secrets; `places` has every rank's `place`.

    `net` has its initial weights still.
    """
    secrets = secret_values(os.environ)
    facts = {
        "command": shlex.join(redacted_words(_command(), secrets)),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "mpi_library": library(),
        "launched_ranks": launcher.ranks() or 1,
        "ranks": len(places),
        "data_checksum": dataset.checksum,
        "data_mean": list(dataset.mean),
        "data_std": list(dataset.std),
        "data_source": dataset.source,
        "initial_weights": digest(net.weights, net.buffers, net.frozen),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda or "",
    }
    facts["version_mpifl"] = mpifl.__version__
    for name in _LIBRARIES:
        facts[f"version_{name}"] = version(name)
    for key in ("host", "device", "processor", "threads"):
        facts[key] = [str(row[key]) for row in places]
    for name in sorted(SLURM_VARIABLES & os.environ.keys()):
        facts[name] = os.environ[name]
    return publishable(facts, secrets)


def _command() -> list[str]:
    """The words that started this process, such that a shell can run them again."""
    by_script = Path(sys.argv[0]).name != "__main__.py"
    if by_script and os.access(sys.argv[0], os.X_OK):
        return sys.argv
    return sys.orig_argv  # with the interpreter: `python -m mpifl`, `python script.py`


def _git_commit() -> str:
    """The commit of the code that runs, with a mark when files differ from it; empty outside a
    checkout.
    """
    command = [
        "git",
        "-C",
        str(Path(mpifl.__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
