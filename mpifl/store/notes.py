"""Notes: what a person writes about a run, in `notes/` beside its files.

RUN/notes/2026-11-28T123000Z.000001.1a2b3c4d.run-5e6f7a8b.txt    UTF-8 text; of x.h5 in x.notes/

Each note is a file of its own, so that several people can write at the same time. mpifl never
changes or removes notes, also not where `--force` replaces the run: they are then no longer shown.
They can be edited and deleted like any text.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from mpifl import regular_files
from mpifl.options import BadInput
from mpifl.store import atomic
from mpifl.store.reader import Run

_MOST_BYTES = 1 << 16


def add(run: Run, text: str) -> Path:
    """Write a note about a run. Returns its file.

    Raises BadInput for a note without text or of more than 64 KiB, and where it cannot be written.
    """
    content = text.strip().encode("utf-8", "replace")
    if not content or len(content) > _MOST_BYTES:
        raise BadInput(f"note: expected text of 1 to {_MOST_BYTES} bytes; got {len(content)}")
    folder = _folder(run)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ.%f")
    file = folder / f"{now}.{secrets.token_hex(4)}{_ending(run)}"
    try:
        folder.mkdir(exist_ok=True)
        atomic.write(file, content + b"\n")
    except OSError as problem:
        raise BadInput(f"{folder}: expected a place to write; got {problem.strerror}") from problem
    return file


def read(run: Run) -> list[tuple[str, str]]:
    """The notes about a run, oldest first: a name that begins with the time, and the text.

    Those that the packed file holds, and those beside it.
    """
    found = list(run.notes.items())
    folder = _folder(run)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in files:
        if not file.name.endswith(_ending(run)):
            continue
        try:
            text = regular_files.content(file, _MOST_BYTES).decode("utf-8", "replace").strip()
        except (BadInput, OSError) as problem:
            text = f"(cannot be read: {problem})"
        found.append((file.name.removesuffix(_ending(run)), text))
    return sorted(found)


def _ending(run: Run) -> str:
    return f".run-{run.run_id[:8]}.txt"


def _folder(run: Run) -> Path:
    return run.path / "notes" if run.path.is_dir() else run.path.with_suffix(".notes")
