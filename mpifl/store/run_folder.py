"""The run folder: what belongs to it, who owns it, and how it is made free for a new run."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mpifl.options import BadInput
from mpifl.store import atomic
from mpifl.store.hdf5_layout import FORMAT, format_of

RESULTS = "results.h5"
OWNER = "owner.json"
MODELS = "models"
CHECKPOINT = "checkpoint"
HESSIAN = "hessian.h5"
VECTORS = "hessian"
MANIFEST = "manifest.json"
_MANIFEST = re.compile(re.escape(MANIFEST))
_MODEL_FILE = re.compile(r"round_\d{6,}\.h5")
_VECTORS_FILE = re.compile(r".+\.round_\d{6,}\.\w+\.h5")
CHECKPOINT_FILE = re.compile(r"round_(\d{6,})\.(?:server|rank_\d{4,})\.h5")
"""a file of a checkpoint, and its round"""


class Superseded(RuntimeError):
    """Another writer has taken the run folder over: this one must stop, its results are no longer
    wanted.
    """


@dataclass(frozen=True)
class Owner:
    """The one writer of a folder, known by a random token: host and pid alone may come again."""

    folder: Path
    token: str

    @staticmethod
    def claim(folder: Path) -> Owner:
        """Become the folder's writer; whoever was it before notices at its next append or commit."""
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
        """Raise Superseded if the folder has gone to another writer, or has gone altogether."""
        now = _owner(self.folder)
        if now.get("token") != self.token:
            what = (
                "{host}, process {pid}, writes it now".format(**now)
                if now
                else "its owner.json is gone"
            )
            raise Superseded(
                f"{self.folder}: taken over: {what}; this run stops and writes nothing more"
            )


def check_free(folder: Path, force: bool) -> None:
    """Raise BadInput unless a run may be made at `folder`: absent, empty, or (with `force`) a run
    of ours.
    """
    if not folder.is_dir() and os.path.lexists(folder):
        raise BadInput(
            f"{folder}: expected a folder for the run; got something that is not a folder; choose another"
        )
    try:
        taken = folder.is_dir() and any(folder.iterdir())
    except OSError as problem:
        raise BadInput(
            f"{folder}: expected a folder that can be read; got {problem.strerror}"
        ) from problem
    if taken and not is_run(folder):
        raise BadInput(
            f"{folder}: expected an empty or new folder; got one with other files; choose another"
        )
    if taken and not force:
        raise BadInput(
            f"{folder}: expected an empty or new folder; got a run; allowed: another --out, --resume to go on with it, "
            "--force to replace it"
        )
    _check_writable(folder)


def is_run(folder: Path) -> bool:
    """Whether the folder holds a run of ours, even one killed before its first commit."""
    return _owner(folder).get("format") == FORMAT or format_of(folder / RESULTS) == FORMAT


def begun(folder: Path) -> bool:
    """Whether there are results or checkpoints: where only the results are gone, nothing may be
    begun anew over it.
    """
    return any(os.path.lexists(path) for path in (folder / RESULTS, folder / CHECKPOINT / MANIFEST))


def remove_run(folder: Path) -> None:
    """Remove what a run and its analysis write, by name; anything else in the folder stays."""
    for name in (MODELS, CHECKPOINT, VECTORS):
        if (folder / name).is_symlink():  # what it points to may serve others
            (folder / name).unlink()
    # first: checkpoints without results would be refused
    _remove_matching(folder / CHECKPOINT, _MANIFEST)
    for name in (RESULTS, HESSIAN):
        (folder / name).unlink(missing_ok=True)
    clear_unfinished(folder)
    _remove_matching(folder / MODELS, _MODEL_FILE)
    _remove_matching(folder / CHECKPOINT, CHECKPOINT_FILE)
    _remove_matching(folder / VECTORS, _VECTORS_FILE)
    for name in (CHECKPOINT, VECTORS):
        with suppress(OSError):  # absent, or it holds what is not ours
            (folder / name).rmdir()


def clear_unfinished(folder: Path) -> None:
    """Remove the files that killed writers were making."""
    for place in (folder, folder / MODELS, folder / CHECKPOINT, folder / VECTORS):
        _remove_matching(place, atomic.TEMPORARY)


def abandon(folder: Path) -> None:
    """Leave no trace of a run that could not be begun."""
    with suppress(OSError):
        (folder / OWNER).unlink()
        folder.rmdir()


def _remove_matching(folder: Path, pattern: re.Pattern[str]) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if pattern.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _check_writable(folder: Path) -> None:
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise BadInput(
            f"{folder}: expected a path through folders; got {place}, which is not one; choose another"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise BadInput(
            f"{folder}: expected a place to write; got no permission in {place}; choose another"
        )


def _owner(folder: Path) -> dict:
    try:
        content = json.loads((folder / OWNER).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    ours = (
        isinstance(content, dict)
        and content.get("format") == FORMAT
        and {"host", "pid", "token"} <= content.keys()
    )
    return content if ours else {}
