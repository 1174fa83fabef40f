"""The run folder: which files belong to a run, who writes it, and how it is freed for a new run."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpifl import regular_files
from mpifl.options import BadInput
from mpifl.store import atomic
from mpifl.store.contents import FORMAT
from mpifl.store.hdf5_layout import format_of

RESULTS = "results.h5"
OWNER = "owner.json"
MODELS = "models"
CHECKPOINT = "checkpoint"
HESSIAN = "hessian.h5"
VECTORS = "hessian"
MANIFEST = "manifest.json"

_MOST_BYTES_OF_OWNER = 1 << 20
_MANIFEST_FILE = re.compile(re.escape(MANIFEST))
_UNFINISHED_OWNER = re.compile(re.escape(f".{OWNER}.") + r"[0-9a-f]{8}\.tmp")
"""all that a run leaves that is killed while it claims its folder"""
_MODEL_FILE = re.compile(r"round_\d{6,}\.h5")
_VECTORS_FILE = re.compile(r".+\.round_\d{6,}\.\w+(\.\w+)?\.h5")
_PART_OF_HESSIAN = re.compile(r"hessian\.[0-9a-f]{16}\.h5")
"""as `shared_file` names them"""
CHECKPOINT_FILE = re.compile(r"round_(\d{6,})\.(?:server|rank_\d{4,})\.h5")
"""a file of a checkpoint; its group is the round"""


class Superseded(RuntimeError):
    """Another process writes the run folder now. This one must stop: its results are not wanted."""


@dataclass(frozen=True)
class Owner:
    """The one writer of a run folder, known by a random token: a host and pid may come again."""

    folder: Path
    token: str

    @staticmethod
    def claim(folder: Path) -> Owner:
        """Become the folder's writer. The previous one notices at its next append or commit."""
        token = secrets.token_hex(16)
        content = {
            "format": FORMAT,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "token": token,
        }
        atomic.write(folder / OWNER, json.dumps(content).encode())
        return Owner(folder, token)

    def check(self) -> None:
        """Raise Superseded if another process has claimed the folder, or the folder is gone.

        Raises Refused where that cannot be known: no file can be opened, or the disk fails.
        """
        try:
            now = _owner_of(regular_files.content(self.folder / OWNER, _MOST_BYTES_OF_OWNER))
        except (FileNotFoundError, NotADirectoryError):
            now = {}
        except OSError as problem:
            path = str(self.folder / OWNER)
            raise atomic.Refused(problem.errno, problem.strerror, path) from problem
        if now.get("token") == self.token:
            return
        if now:
            what = f"{now['host']}, process {now['pid']}, writes it now"
        else:
            what = "its owner.json is gone"
        raise Superseded(
            f"{self.folder}: taken over: {what}; this run stops and writes nothing more"
        )


def check_free(folder: Path, force: bool) -> None:
    """Raise BadInput unless a new run may be made at `folder`.

    It may where nothing is, in an empty folder, in one where a run was killed before it had
    claimed it, and with `force` in place of a run.
    """
    try:
        is_something_else = not folder.is_dir() and os.path.lexists(folder)
    except OSError as problem:
        raise BadInput(f"{folder}: expected a path; got {problem.strerror}") from problem
    if is_something_else:
        raise BadInput(
            f"{folder}: expected a folder for the run; got something that is not a folder; "
            "choose another"
        )
    try:
        names = [path.name for path in files_in(folder)]
    except OSError as problem:
        raise BadInput(
            f"{folder}: expected a folder that can be read; got {problem.strerror}"
        ) from problem
    taken = not all(_UNFINISHED_OWNER.fullmatch(name) for name in names)
    if taken and not is_run(folder):
        raise BadInput(
            f"{folder}: expected an empty or new folder; got one with other files; choose another"
        )
    if taken and not force:
        raise BadInput(
            f"{folder}: expected an empty or new folder; got a run; allowed: another --out, "
            "--resume to continue it, --force to replace it"
        )
    _check_writable(folder)


def is_run(folder: Path) -> bool:
    """Whether the folder holds a run, even one that was killed before its first commit."""
    return _owner(folder).get("format") == FORMAT or format_of(folder / RESULTS) == FORMAT


def begun(folder: Path) -> bool:
    """Whether the folder holds something to resume: results, checkpoints or weights.

    Checkpoints or weights alone count too: if the results were lost, no new run may silently
    replace the rest. A run that was killed before its first commit has left nothing.
    """
    if os.path.lexists(folder / RESULTS) or os.path.lexists(folder / CHECKPOINT / MANIFEST):
        return True
    return any(_MODEL_FILE.fullmatch(path.name) for path in files_in(folder / MODELS))


def remove_run(folder: Path) -> None:
    """Remove the files that a run and its analysis write, known by their names. All others stay."""
    for name in (MODELS, CHECKPOINT, VECTORS):
        if (folder / name).is_symlink():  # files behind a link may serve others: remove the link
            (folder / name).unlink()
    # the manifest first: checkpoints without results would be refused
    _remove_matching(folder / CHECKPOINT, _MANIFEST_FILE)
    for name in (RESULTS, HESSIAN):
        (folder / name).unlink(missing_ok=True)
    clear_unfinished(folder)
    _remove_matching(folder, _PART_OF_HESSIAN)
    _remove_matching(folder / MODELS, _MODEL_FILE)
    _remove_matching(folder / CHECKPOINT, CHECKPOINT_FILE)
    _remove_matching(folder / VECTORS, _VECTORS_FILE)
    for name in (CHECKPOINT, VECTORS):
        with suppress(OSError):  # absent, or not empty
            (folder / name).rmdir()


def clear_unfinished(folder: Path) -> None:
    """Remove the temporary files of killed writers."""
    for place in (folder, folder / MODELS, folder / CHECKPOINT, folder / VECTORS):
        if place == folder or not place.is_symlink():  # files behind a link may serve others
            _remove_matching(place, atomic.TEMPORARY)


def abandon(folder: Path) -> None:
    """Remove the files and the folder of a run that could not begin."""
    with suppress(OSError):
        remove_run(folder)
        (folder / OWNER).unlink()
        folder.rmdir()


def keep_aside(file: Path, why: str) -> Path:
    """The file under a second name, `results.WHY-1.h5` or the next that is free."""
    number = 1
    while os.path.lexists(aside := file.with_name(f"{file.stem}.{why}-{number}{file.suffix}")):
        number += 1
    try:
        os.link(file, aside)
    except OSError:  # a file system without links
        shutil.copyfile(file, aside)
    return aside


def measured_files(folder: Path) -> list[Path]:
    """The results, weights and findings in a run's folder, as far as they are there."""
    found = [folder / name for name in (RESULTS, HESSIAN) if (folder / name).exists()]
    found += _matching(folder, _PART_OF_HESSIAN)
    found += _matching(folder / MODELS, _MODEL_FILE)
    found += _matching(folder / VECTORS, _VECTORS_FILE)
    return found


def files_in(folder: Path) -> list[Path]:
    """What a folder holds; empty if there is no folder."""
    return list(folder.iterdir()) if folder.is_dir() else []


def _matching(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    return sorted(path for path in files_in(folder) if pattern.fullmatch(path.name))


def _remove_matching(folder: Path, pattern: re.Pattern[str]) -> None:
    for path in _matching(folder, pattern):
        path.unlink(missing_ok=True)


def _check_writable(folder: Path) -> None:
    """Raise BadInput unless the nearest existing parent is a folder that may be written to."""
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise BadInput(
            f"{folder}: expected a path through folders; got {place}, which is not one; "
            "choose another"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise BadInput(
            f"{folder}: expected a place to write; got no permission in {place}; choose another"
        )


def _owner(folder: Path) -> dict[str, Any]:
    """The content of owner.json; empty if there is none of a run, or none that can be read."""
    try:
        return _owner_of(regular_files.content(folder / OWNER, _MOST_BYTES_OF_OWNER))
    except OSError:
        return {}


def _owner_of(text: bytes) -> dict[str, Any]:
    """The content of an owner.json; empty if it is none of a run."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return {}
    if not {"host", "pid", "token"} <= content.keys():
        return {}
    return content
