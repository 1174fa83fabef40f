"""The batch files and configs that come with mpifl: what `mpifl jobs` and `mpifl configs` write."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from mpifl.options import BadInput

SHARE = Path(__file__).parent.parent / "share"
"""jobs/ and configs/ of the repository: links in a checkout, copies in an installed mpifl"""

_SUFFIXES = frozenset({".md", ".pbs", ".sbatch", ".sh", ".toml"})


def write_jobs(out: Path, force: bool = False) -> list[Path]:
    """Write the batch files below the folder `out`; return their paths.

    Two settings are filled in: the folder of the files, and the virtual environment that has mpifl.
    Raises BadInput where a file exists, unless `force`.
    """
    folder = shlex.quote(str(out.absolute()))
    settings = {"$SLURM_SUBMIT_DIR/jobs": folder, "$PBS_O_WORKDIR/jobs": folder}
    environment = virtual_environment()
    if environment:
        settings["VENV=${VENV:-}"] = f"VENV=${{VENV:-{shlex.quote(str(environment))}}}"
    return _write("jobs", out, force, settings)


def write_configs(out: Path, force: bool = False) -> list[Path]:
    """Write the configs below the folder `out`; return their paths.

    Raises BadInput where a file exists, unless `force`.
    """
    return _write("configs", out, force, {})


def virtual_environment() -> Path | None:
    """The virtual or conda environment of this process, if it has the command mpifl."""
    environment = Path(sys.prefix)
    has_command = (environment / "bin" / "mpifl").exists()
    return environment if has_command else None


def _write(name: str, out: Path, force: bool, settings: Mapping[str, str]) -> list[Path]:
    """Copy the files of SHARE/name, with each key of `settings` replaced by its value."""
    folder = SHARE / name
    files = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES)
    targets = [out / path.relative_to(folder) for path in files]
    if not force:
        _refuse_existing(targets)
    for path, target in zip(files, targets, strict=True):
        text = path.read_text(encoding="utf-8")
        for default, value in settings.items():
            text = text.replace(default, value)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        shutil.copymode(path, target)
    return targets


def _refuse_existing(targets: list[Path]) -> None:
    for target in targets:
        if target.exists():
            raise BadInput(
                f"{target}: expected a file that does not exist yet; got one; "
                "allowed: another --out, or --force"
            )
