"""reseal: accept files that were edited on purpose, by writing their checksums anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py

from mpifl.options import BadInput
from mpifl.store import atomic, checksum, findings_file, readable, validate
from mpifl.store.contents import FORMAT, FORMAT_VERSION, MODEL_FORMAT, timestamp
from mpifl.store.reader import Run
from mpifl.store.run_folder import measured_files

_VERSIONS = {
    MODEL_FORMAT: FORMAT_VERSION,
    findings_file.FORMAT: findings_file.FORMAT_VERSION,
    findings_file.VECTORS_FORMAT: findings_file.FORMAT_VERSION,
}
"""by format of the files beside `results.h5` that can be resealed, the newest version"""


def reseal(path: Path) -> list[Path]:
    """Write the checksums of the edited files of a run anew. Returns these files.

    `path` is a run's folder, or one file. Each file gets an attribute `resealed` with the time.
    Files of checkpoints stay as they are: nobody edits them on purpose. Raises BadInput, before
    anything is written, for a file that is damaged, cut short, of another program, or that libhdf5
    cannot read whole.
    """
    files = measured_files(path) if path.is_dir() else [path]
    edited = [file for file in files if _is_edited(file)]
    for file in edited:
        readable.check(file)
    for file in edited:
        _write_sealed(file)
    return edited


def _is_edited(file: Path) -> bool:
    """Whether another program has opened a file for writing. Raises BadInput for a damaged one."""
    try:
        checksum.verify(file)
    except checksum.EditedFile:
        return True
    except OSError as problem:
        raise BadInput(f"{file}: expected a file of mpifl; got {problem.strerror}") from problem
    return False


def _write_sealed(file: Path) -> None:
    with atomic.replacing(file) as temporary:
        shutil.copyfile(file, temporary)
        with h5py.File(temporary, "r+", locking=False) as content:
            content.attrs["resealed"] = timestamp()
            file_format = str(content.attrs.get("format"))
        atomic.append_trailer(temporary)
        try:
            _check_meaning(temporary, file_format)
        except BadInput as problem:
            raise BadInput(str(problem).replace(str(temporary), str(file))) from problem


def _check_meaning(file: Path, file_format: str) -> None:
    """Raise BadInput unless mpifl can read a sealed file of this format."""
    if file_format == FORMAT:
        Run.open(file)
    elif file_format in _VERSIONS:
        with validate.opened(file, "a file of a run", file_format, _VERSIONS[file_format]):
            pass
    else:
        raise BadInput(
            f"{file}: expected a file of a run that can be edited; got one of format "
            f"{file_format!r}; allowed: results, weights and findings; pack data again"
        )
