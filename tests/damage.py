"""Changing files in place, as damage or another program does, though they are read-only."""

from __future__ import annotations

import os
from pathlib import Path


def overwrite(path: Path, content: bytes | bytearray) -> None:
    """Write a file in place."""
    if path.exists():
        path.chmod(0o644)
    path.write_bytes(content)


def cut(path: Path, size: int) -> None:
    """Shorten a file in place."""
    path.chmod(0o644)
    os.truncate(path, size)
