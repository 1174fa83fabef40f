"""The sdist, and the wheel made of it: what a user who has no checkout gets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
FOLDERS = (
    *("analysis", "benchmarks", "configs", "containers", "docs", "examples", "jobs"),
    *("mpifl", "tests"),
)
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"


def build(kind: str, sources: Path, out: Path) -> Path:
    """Build the "sdist" or the "wheel" of `sources`."""
    command = [sys.executable, "-c", BUILD.format(kind), out]
    subprocess.run(command, cwd=sources, check=True, capture_output=True)
    [built] = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The sdist, built from a copy of the sources."""
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path_factory.mktemp("sources")
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, copy / name, symlinks=True, ignore=ignored)
    for path in REPOSITORY.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, copy)
    return build("sdist", copy, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel, built from the sdist."""
    sources = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as packed:
        packed.extractall(sources, filter="data")
    [unpacked] = sources.iterdir()
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


def names_below(folder: Path, *suffixes: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in suffixes}


@pytest.mark.slow
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
def test_an_index_would_take_both(sdist, wheel):
    pytest.importorskip("twine")
    command = [sys.executable, "-m", "twine", "check", "--strict", sdist, wheel]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_the_sdist_has_all_that_is_needed_to_build_test_and_read_it(sdist):
    with tarfile.open(sdist) as packed:
        tops = {Path(name).parts[1] for name in packed.getnames() if len(Path(name).parts) > 1}
    assert tops >= {*FOLDERS, "Makefile", "constraints.txt", "CHANGELOG.md", "README.md"}


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
