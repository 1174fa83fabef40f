"""The runs whose bits are on record in bits.json, for some processors and libraries.

`python tests/golden/recorded_runs.py` writes the record of this machine: of another machine, at a
commit that has passed on a known one; anew, only where a change of bits is meant, and the changelog
says so. Where a bit has changed, the records of other machines are dropped.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny
import torch
from machine import machine
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


def bits_of(name: str) -> list[str]:
    """The SHA-256 of the weights and buffers after each round."""
    configure(torch.device("cpu"), threads=1)  # as a run does
    return [digest for digest, _ in tiny.digests(RUNS[name])]


def bits_of_the_demo(folder: Path) -> list[str]:
    """Likewise, of its first three rounds."""
    run = mpifl.run(DEMO, overrides=["rounds=3"], out=folder / "demo", quiet=True)
    assert run is not None
    return list(run.rounds["sha256"])


def record() -> dict[str, list[str]] | None:
    """The bits on record of this machine; None where there are none."""
    for of_machine in json.loads(RECORD.read_text()):
        if of_machine["machine"] == machine():
            bits: dict[str, list[str]] = of_machine["bits"]
            return bits
    return None


def main() -> None:
    bits = {name: bits_of(name) for name in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        bits["demo"] = bits_of_the_demo(Path(folder))
    known = json.loads(RECORD.read_text())
    if record() == bits:
        return
    if record() is not None:
        known = []
    known.append({"machine": machine(), "bits": bits})
    RECORD.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
