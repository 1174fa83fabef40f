"""Starting a program with mpirun, and reading the JSON that its rank 0 prints last."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def on_ranks(ranks: int, module: str, *arguments: object) -> Any:
    """What `python -m MODULE ARGUMENTS` prints last on so many ranks, read as JSON."""
    return json.loads(mpirun(ranks, module, *arguments).splitlines()[-1])


def mpirun(ranks: int, module: str, *arguments: object) -> str:
    """What `python -m MODULE ARGUMENTS` prints on so many ranks, started by the mpirun beside this
    Python, or by that of the PATH. Raises RuntimeError, with all that was said, where it fails.
    """
    beside = Path(sys.executable).parent / "mpirun"
    program = str(beside) if beside.exists() else shutil.which("mpirun") or "mpirun"
    words = [str(argument) for argument in arguments]
    command = [program, "-n", str(ranks), sys.executable, "-m", module, *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    return result.stdout
