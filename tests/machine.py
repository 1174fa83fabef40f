"""What the bits of a run depend on beside its config: the processor and the libraries that compute.

Tests hold bits that were recorded on a machine only to bits of one that equals it.
"""

from __future__ import annotations

import hashlib
import platform

import numpy as np
import torch

from mpifl.parallel.devices import processor_facts


def machine() -> dict[str, str]:
    """This machine, as records name theirs."""
    facts = processor_facts()
    return {
        "processor": facts.get("model name", platform.machine()),
        "instructions": hashlib.sha256(facts.get("flags", "").encode()).hexdigest(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.partition("+")[0],
        "numpy": np.__version__,
    }
