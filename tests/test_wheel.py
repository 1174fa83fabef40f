"""The wheel: what a user who has no checkout gets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SOURCES = ("mpifl", "jobs", "configs", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the sources."""
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, copy / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-c", BUILD, out], cwd=copy, check=True, capture_output=True)
    [built] = out.glob("*.whl")
    return built


def names_below(folder: Path, *suffixes: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in suffixes}


def test_it_has_every_module_job_file_and_config(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"mpifl/{name}" for name in names_below(REPOSITORY / "mpifl", ".py", ".typed")}
    job_files = names_below(REPOSITORY / "jobs", ".sh", ".sbatch", ".pbs", ".md")
    configs = names_below(REPOSITORY / "configs", ".toml", ".md", ".py") - {"index.py"}
    expected = modules | {f"mpifl/share/jobs/{name}" for name in job_files}
    expected |= {f"mpifl/share/configs/{name}" for name in configs}
    expected |= {"mpifl/data/digits.csv.gz", "mpifl/data/DIGITS-NOTICE.md"}
    expected |= {"mpifl/runner/known_defaults.json"}
    expected |= {f"mpifl/analysis/report/report.{kind}" for kind in ("css", "js")}
    assert {name for name in packed if name.startswith("mpifl/")} == expected


@pytest.mark.slow
def test_it_runs_its_own_configs_from_an_empty_folder(wheel, tmp_path):
    site, folder = tmp_path / "site", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(site)
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(site)}

    def mpifl(*words: str) -> str:
        command = [sys.executable, "-m", "mpifl", *words]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert mpifl("configs").endswith("next: mpirun -n 3 mpifl run configs/demo.toml\n")
    mpifl("jobs")
    mpifl("run", "configs/demo.toml", "rounds=1")
    assert mpifl("show", "runs/demo", "--status") == "complete\n"
    assert sorted(path.name for path in folder.iterdir()) == ["configs", "jobs", "runs"]
