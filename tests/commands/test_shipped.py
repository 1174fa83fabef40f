"""`mpifl jobs` and `mpifl configs`: what they write works where it is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mpifl import config
from mpifl.cli import main
from mpifl.runner import schema

REPOSITORY = Path(__file__).parents[2]


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def files_in(folder: Path) -> dict[str, Path]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path for path in found}


def in_bash(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"]} | environment
    return subprocess.run(["bash", "-c", program], env=known, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["jobs", "configs"])
def test_all_files_of_the_repository_are_written_with_their_modes(tmp_path, name):
    done = typed(name, "--out", tmp_path / "out")
    written, ours = files_in(tmp_path / "out"), files_in(REPOSITORY / name)
    kept = {path for path in ours if not path.endswith((".py", ".pyc"))}
    assert (done.exit_code, set(written)) == (0, kept)
    assert done.output.startswith(f"{len(kept)} files written to {tmp_path}/out")
    for path, file in written.items():
        assert os.access(file, os.X_OK) == os.access(ours[path], os.X_OK)


@pytest.mark.parametrize("name", ["jobs", "configs"])
def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path, name):
    (tmp_path / "README.md").write_text("mine")
    done = typed(name, "--out", tmp_path)
    assert done.exit_code == 2
    assert done.output == (
        f"mpifl: {tmp_path}/README.md: expected a file that does not exist yet; got one; "
        "allowed: another --out, or --force\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert typed(name, "--out", tmp_path, "--force").exit_code == 0
    assert "mine" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("name", ["jobs", "configs"])
def test_a_folder_that_cannot_be_made_is_named_in_one_line(name):
    done = typed(name, "--out", "/proc/none")
    assert done.exit_code == 2
    assert done.output == (
        "mpifl: /proc/none: expected to read or write it; got No such file or directory\n"
    )


def test_written_configs_resolve_with_those_that_they_extend(tmp_path):
    typed("configs", "--out", tmp_path)
    run = tmp_path / "man" / "cifar100-dir0.3" / "feddyn-man.toml"
    assert schema.resolve(config.read(run)).name == "man-cifar100-dir0.3-feddyn-man"


FILES = ["train.sbatch", "sweep.sbatch", "hessian.sbatch", "table.sbatch"]
PBS_FILES = ["pbs/train.pbs", "pbs/sweep.pbs"]


@pytest.mark.parametrize("file", FILES + PBS_FILES)
@pytest.mark.parametrize("folder", ["jobs", "my folder's $jobs"])
def test_a_written_job_file_knows_its_folder_wherever_it_is_submitted(tmp_path, folder, file):
    out = tmp_path / folder
    typed("jobs", "--out", out)
    told = in_bash('. <(grep ^MPIFL_JOBS= "$FILE"); printf %s "$MPIFL_JOBS"', FILE=str(out / file))
    assert (told.stdout, told.stderr) == (str(out), "")
    given = in_bash(
        '. <(grep ^MPIFL_JOBS= "$FILE"); printf %s "$MPIFL_JOBS"',
        FILE=str(out / file),
        MPIFL_JOBS="elsewhere",
    )
    assert given.stdout == "elsewhere"


WHICH = '. "$MPIFL_JOBS/launch.sh"; command -v mpifl'


def test_written_job_files_use_the_environment_that_wrote_them(tmp_path):
    typed("jobs", "--out", tmp_path)
    told = in_bash(WHICH, MPIFL_JOBS=str(tmp_path), PATH="/usr/bin:/bin")
    assert (told.stdout, told.stderr) == (f"{sys.prefix}/bin/mpifl\n", "")


def bin_with_mpifl(environment: Path) -> Path:
    """The bin/ of a new environment with a command called mpifl."""
    folder = environment / "bin"
    folder.mkdir(parents=True)
    (folder / "mpifl").touch(0o755)
    return folder


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder with the repository's jobs/ and without .venv."""
    shutil.copytree(REPOSITORY / "jobs", tmp_path / "checkout" / "jobs")
    return tmp_path / "checkout"


def test_job_files_take_mpifl_from_venv_then_from_the_checkout_then_from_the_path(
    checkout, tmp_path
):
    jobs = f"{checkout}/jobs"
    path = f"{bin_with_mpifl(tmp_path / 'on path')}:/usr/bin:/bin"
    assert in_bash(WHICH, MPIFL_JOBS=jobs, PATH=path).stdout == f"{tmp_path}/on path/bin/mpifl\n"
    bin_with_mpifl(checkout / ".venv")
    found = f"{jobs}/../.venv/bin/mpifl\n"
    assert in_bash(WHICH, MPIFL_JOBS=jobs, PATH=path).stdout == found
    given = bin_with_mpifl(tmp_path / "given").parent
    found = f"{given}/bin/mpifl\n"
    assert in_bash(WHICH, MPIFL_JOBS=jobs, PATH=path, VENV=str(given)).stdout == found


@pytest.mark.parametrize(("venv", "place"), [("", "the PATH"), ("/none", "/none")])
def test_a_job_without_mpifl_ends_with_one_line(checkout, venv, place):
    jobs = f"{checkout}/jobs"
    told = in_bash(WHICH, MPIFL_JOBS=jobs, PATH="/usr/bin:/bin", VENV=venv)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == (
        f"jobs: expected the command mpifl in {place}; got none; set VENV in {jobs}/site.sh\n"
    )
