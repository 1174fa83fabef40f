"""The Makefile: what it refuses and what it leaves alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="there is no make")


def make(*words: str, path: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    command = [str(MAKE), *words]
    return subprocess.run(command, cwd=folder, env={"PATH": path}, capture_output=True, text=True)


def test_system_mpi_without_mpicc_is_one_line_and_installs_nothing(tmp_path):
    files = ["Makefile", "constraints.txt", "pyproject.toml", "setup.cfg"]
    for name in files:
        shutil.copy(REPOSITORY / name, tmp_path)
    done = make("demo", "MPI=system", path=str(tmp_path / "empty"), folder=tmp_path)
    assert done.returncode != 0
    said = done.stderr.splitlines()
    assert said[0].startswith("make: MPI=system: expected mpicc and mpirun on the PATH; got none: ")
    assert len(said) == 2  # the second is make's own
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_the_demo_does_not_write_to_the_folder_of_a_run_of_the_users():
    told = make("--dry-run", "demo", path="/usr/bin:/bin").stdout
    assert "--out runs/make-demo --force" in told
