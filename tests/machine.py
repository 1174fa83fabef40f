"""What the bits of a run depend on beside its config: the processor and the libraries that compute.

Tests hold bits that were recorded on a machine only to bits of one that equals it.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import numpy as np
import torch


def machine() -> dict[str, str]:
    """What the bits of a run depend on: the processor and the libraries that compute."""
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    return {
        "processor": facts.get("model name", platform.machine()),
        "instructions": hashlib.sha256(facts.get("flags", "").encode()).hexdigest(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.partition("+")[0],
        "numpy": np.__version__,
    }
