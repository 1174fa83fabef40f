"""checkpoint/manifest.json: which files make up the last two checkpoints. A checkpoint is there
once this names it.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mpifl.options import BadInput
from mpifl.store import atomic, checksum
from mpifl.store.run_folder import CHECKPOINT, CHECKPOINT_FILE, MANIFEST

FORMAT = "mpifl-checkpoint"
FORMAT_VERSION = 1


class Part(NamedTuple):
    """One file of a checkpoint, as its writer saw it: nobody else need read it to commit it."""

    name: str
    size: int
    """bytes"""
    crc32: int
    """of its seal, and so of all in it"""
    clients: tuple[int, ...] = ()
    """whose states it holds, in the order of its rows"""


class Entry(NamedTuple):
    """One checkpoint."""

    round: int
    config: str
    """digest of the options that bind the run"""
    parts: tuple[Part, ...]
    """the server's file, then those of the ranks"""


class Manifest(NamedTuple):
    """The checkpoints of one run, newest first."""

    run_id: str
    entries: tuple[Entry, ...]


def read(folder: Path) -> Manifest | None:
    """The manifest of a run folder, None if it has none; raises BadInput for one that is damaged or
    too new.
    """
    path = folder / CHECKPOINT / MANIFEST
    try:
        record = json.loads(path.read_bytes())
        known = record["format"] == FORMAT
        version = record["format_version"] if known else 0
        if known and version <= FORMAT_VERSION and record["crc32"] == _crc32(record["content"]):
            return _manifest(record["content"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise BadInput(
            f"{path}: expected the list of a run's checkpoints; got a damaged one ({problem})"
        ) from problem
    if known and version > FORMAT_VERSION:
        raise BadInput(
            f"{path}: expected format version {FORMAT_VERSION} or less; got {version}; update mpifl"
        )
    raise BadInput(
        f"{path}: expected the list of a run's checkpoints; got a damaged one or something else"
    )


def write(folder: Path, manifest: Manifest, check: Callable[[], None] | None = None) -> None:
    """Commit `manifest`; `check` may still refuse by raising."""
    entries = [
        {**e._asdict(), "parts": [part._asdict() for part in e.parts]} for e in manifest.entries
    ]
    content = {"run_id": manifest.run_id, "checkpoints": entries}
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "crc32": _crc32(content),
        "content": content,
    }
    atomic.write(folder / CHECKPOINT / MANIFEST, json.dumps(record, indent=1).encode(), check)


def damage(folder: Path, entry: Entry) -> str:
    """What is wrong with the files of a checkpoint, in a few words; empty if nothing is. Reads them
    whole.
    """
    for part in entry.parts:
        path = folder / CHECKPOINT / part.name
        try:
            if checksum.verified(path) != (part.size, part.crc32):
                return f"{part.name} is whole, but not the one that was written"
        except checksum.Unsound as problem:
            return f"{part.name} is {problem.what}"
        except OSError as problem:
            return f"{part.name}: {problem.strerror}"
    return ""


def forget_after(folder: Path, round: int, check: Callable[[], None]) -> None:
    """Drop the checkpoints of later rounds than `round`, to which the run goes back, and those
    never committed.
    """
    manifest = read(folder)
    entries = manifest.entries if manifest else ()
    kept = tuple(entry for entry in entries if entry.round <= round)
    if manifest and kept != entries:
        write(folder, Manifest(manifest.run_id, kept), check)
    prune(folder, kept)


def prune(folder: Path, kept: Sequence[Entry], up_to: float = math.inf) -> None:
    """Remove the files of checkpoints other than those kept; `up_to` spares what ranks write for
    later rounds.
    """
    named = {part.name for entry in kept for part in entry.parts}
    place = folder / CHECKPOINT
    for path in place.iterdir() if place.is_dir() else ():
        match = CHECKPOINT_FILE.fullmatch(path.name)
        if match and int(match[1]) <= up_to and path.name not in named:
            with suppress(OSError):  # the checkpoint is there; a file too many is no reason to stop
                path.unlink()


def _manifest(content: dict) -> Manifest:
    entries = []
    for entry in content["checkpoints"]:
        parts = (Part(**{**part, "clients": tuple(part["clients"])}) for part in entry["parts"])
        entries.append(Entry(entry["round"], entry["config"], tuple(parts)))
    return Manifest(content["run_id"], tuple(entries))


def _crc32(content: dict) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
