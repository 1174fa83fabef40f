"""checkpoint/manifest.json: the files of the last two checkpoints.

A checkpoint exists from the moment that the manifest lists it. A run has a manifest from its start,
which lists none at first: where there is no manifest, the checkpoints were lost.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mpifl import regular_files
from mpifl.options import BadInput
from mpifl.store import atomic, checksum
from mpifl.store.run_folder import CHECKPOINT, CHECKPOINT_FILE, MANIFEST, files_in

FORMAT = "mpifl-checkpoint"
FORMAT_VERSION = 1
_MOST_BYTES = 1 << 28
"""of a manifest; one of a million clients has 20 MB"""


class Part(NamedTuple):
    """One file of a checkpoint, described by the rank that wrote it: `commit` need not read it."""

    name: str
    size: int
    """bytes"""
    crc32: int
    """of the checksums at its end, so it depends on every byte"""
    clients: tuple[int, ...] = ()
    """whose states it holds, in the order of its rows"""


class CheckpointEntry(NamedTuple):
    """One checkpoint."""

    round: int
    config: str
    """digest of the options that a resumed run must keep"""
    parts: tuple[Part, ...]
    """the server's file, then those of the ranks"""


class Manifest(NamedTuple):
    """The checkpoints of one run, newest first."""

    run_id: str
    entries: tuple[CheckpointEntry, ...]


def read(folder: Path) -> Manifest | None:
    """The manifest of a run folder, None if it has none.

    Raises BadInput for a manifest that is damaged or of a newer format.
    """
    path = folder / CHECKPOINT / MANIFEST
    expected = f"{path}: expected the list of a run's checkpoints"
    try:
        record = json.loads(regular_files.content(path, _MOST_BYTES))
        known = record["format"] == FORMAT
        if known and record["format_version"] > FORMAT_VERSION:
            raise BadInput(
                f"{path}: expected format version {FORMAT_VERSION} or less; "
                f"got {record['format_version']}; update mpifl"
            )
        if not known or record["crc32"] != _crc32(record["content"]):
            raise BadInput(f"{expected}; got a damaged one or something else")
        return _manifest(record["content"])
    except FileNotFoundError:
        return None
    except BadInput:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise BadInput(f"{expected}; got a damaged one ({problem})") from problem


def write(folder: Path, manifest: Manifest, check: atomic.Check | None = None) -> None:
    """Write the manifest, and so commit its checkpoints. Raises OSError naming the file."""
    checkpoints = []
    for entry in manifest.entries:
        parts = [part._asdict() for part in entry.parts]
        checkpoints.append({**entry._asdict(), "parts": parts})
    content = {"run_id": manifest.run_id, "checkpoints": checkpoints}
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "crc32": _crc32(content),
        "content": content,
    }
    atomic.write(folder / CHECKPOINT / MANIFEST, json.dumps(record, indent=1).encode(), check)


def begin(folder: Path, run_id: str, check: atomic.Check | None = None) -> None:
    """Write a manifest without checkpoints, where there is none."""
    if read(folder) is None:
        atomic.make_folder(folder / CHECKPOINT)
        write(folder, Manifest(run_id, ()), check)


def check_files(folder: Path, entry: CheckpointEntry) -> None:
    """Read the files of a checkpoint whole.

    Raises BadInput, in a few words, for the first that is missing or damaged.
    """
    for part in entry.parts:
        try:
            found = checksum.verify(folder / CHECKPOINT / part.name)
        except checksum.InvalidFile as problem:
            raise BadInput(f"{part.name} is {problem.what}") from problem
        except OSError as problem:
            raise BadInput(f"{part.name}: {problem.strerror}") from problem
        if found != (part.size, part.crc32):
            raise BadInput(f"{part.name} is whole, but not the one that was written")


def forget_after(
    folder: Path, round: int, old_digests: Collection[str], digest: str, check: atomic.Check
) -> None:
    """Remove the checkpoints of rounds later than `round`, and files that no checkpoint lists.

    Checkpoints of a config with one of `old_digests` are listed with `digest` from now on.
    """
    manifest = read(folder)
    if manifest is None:
        prune(folder, ())
        return
    kept: tuple[CheckpointEntry, ...] = ()
    for entry in manifest.entries:
        if entry.round <= round:
            if entry.config in old_digests:
                entry = entry._replace(config=digest)
            kept = (*kept, entry)
    if kept != manifest.entries:
        write(folder, Manifest(manifest.run_id, kept), check)
    prune(folder, kept, manifest.entries)


def prune(
    folder: Path,
    kept: Sequence[CheckpointEntry],
    dropped: Sequence[CheckpointEntry] = (),
    up_to: float = math.inf,
) -> None:
    """Remove the files of checkpoints other than those kept.

    Files of rounds after `up_to` stay: ranks may be writing them for the next checkpoint. If the
    folder of the checkpoints is a symbolic link, other runs may keep theirs there: then only the
    files of the run's own checkpoints `dropped` are removed.
    """
    place = folder / CHECKPOINT
    own = _names(dropped) if place.is_symlink() else None
    names = _names(kept)
    for path in files_in(place):
        match = CHECKPOINT_FILE.fullmatch(path.name)
        if not match or int(match[1]) > up_to or path.name in names:
            continue
        if own is None or path.name in own:
            with suppress(OSError):  # a file too many is no reason to stop
                path.unlink()


def _names(entries: Sequence[CheckpointEntry]) -> set[str]:
    names: set[str] = set()
    for entry in entries:
        names.update(part.name for part in entry.parts)
    return names


def _manifest(content: dict[str, Any]) -> Manifest:
    """The manifest in a record. Raises ValueError, KeyError or TypeError for any other."""
    entries = []
    for entry in content["checkpoints"]:
        parts = tuple(_part(part) for part in entry["parts"])
        if not parts:
            raise ValueError("a checkpoint without files")
        entries.append(CheckpointEntry(_number(entry["round"]), _text(entry["config"]), parts))
    return Manifest(_text(content["run_id"]), tuple(entries))


def _part(record: dict[str, Any]) -> Part:
    name = _text(record["name"])
    if not CHECKPOINT_FILE.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a checkpoint's file")
    clients = tuple(_number(client) for client in record["clients"])
    return Part(name, _number(record["size"]), _number(record["crc32"]), clients)


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a number from 0 on")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{value!r} is no text")
    return value


def _crc32(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
