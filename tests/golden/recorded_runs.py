"""The runs whose bits are on record in bits.json.

`python tests/golden/recorded_runs.py` writes it anew, for the processor and the libraries of this
machine: only where a change of bits is meant, and the changelog says so.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import tiny
import torch
from mpi.calls.algorithms import CASES, PARTLY

import mpifl
from mpifl.config import merge
from mpifl.parallel.devices import configure

RECORD = Path(__file__).with_name("bits.json")
DEMO = Path(__file__).parents[2] / "configs" / "demo.toml"

RUNS: dict[str, dict[str, Any]] = {name: merge(PARTLY, case) for name, case in CASES.items()}
RUNS |= {
    f"batch norm, {buffers} buffers": {
        "model": {"name": "lenet", "norm": "batch"},
        "buffers": buffers,
    }
    for buffers in ("average", "pooled", "local")
}
RUNS |= {f"model {name}": {"model": {"name": name}, "rounds": 2} for name in ("resnet20", "vit")}
"""of a few rounds on one rank; the demo comes beside them"""


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


def bits_of(name: str) -> list[str]:
    """The SHA-256 of the weights and buffers after each round."""
    configure(torch.device("cpu"), threads=1)  # as a run does
    return [digest for digest, _ in tiny.digests(RUNS[name])]


def bits_of_the_demo(folder: Path) -> list[str]:
    """Likewise, of its first three rounds."""
    run = mpifl.run(DEMO, overrides=["rounds=3"], out=folder / "demo", quiet=True)
    assert run is not None
    return list(run.rounds["sha256"])


def main() -> None:
    bits = {name: bits_of(name) for name in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        bits["demo"] = bits_of_the_demo(Path(folder))
    RECORD.write_text(json.dumps({"machine": machine(), "bits": bits}, indent=1) + "\n")


if __name__ == "__main__":
    main()
