"""What a run stores of the process and the job that made it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mpifl.store import Run

TOKEN = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.dG9rZW4"
QUICK = (
    "rounds=1",
    "data.name=synthetic",
    "data.options={ shape = [1, 8, 8], train = 60, test = 20 }",
    "clients=2",
    "partition.name=iid",
    "model={ name = 'mlp', hidden = [4] }",
    "local.loss=ce + man(zeta=0.15)",
)


def type_(words: list[str], folder: Path, **environment: str) -> None:
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "mpifl"], [str(Path(sys.prefix) / "bin" / "mpifl")]]
)
def test_a_run_in_a_job_keeps_no_secret_and_its_stored_command_runs_again_in_a_shell(
    tmp_path, command
):
    (tmp_path / "config.toml").write_text('name = "x"\n')
    job = {"SLURM_JWT": TOKEN, "SLURM_JOB_ID": "7", "SLURM_JOB_PARTITION": "gpu"}
    type_([*command, "run", "config.toml", *QUICK, "--out", "first run"], tmp_path, **job)
    assert_keeps_what_matters_and_no_secret(tmp_path / "first run")
    first = Run.open(tmp_path / "first run")
    assert shlex.split(first.provenance["command"])[-2:] == ["--out", "first run"]
    (tmp_path / "first run").rename(tmp_path / "kept")
    type_(["bash", "-c", str(first.provenance["command"])], tmp_path)
    second = Run.open(tmp_path / "first run")
    assert second.config == first.config
    assert second.rounds["sha256"].tolist() == first.rounds["sha256"].tolist()


def assert_keeps_what_matters_and_no_secret(folder: Path) -> None:
    provenance = Run.open(folder).provenance
    slurm = {name: provenance[name] for name in provenance if name.startswith("SLURM_")}
    assert slurm == {"SLURM_JOB_ID": "7", "SLURM_JOB_PARTITION": "gpu"}
    for path in folder.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path
