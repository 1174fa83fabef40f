"""Where the tensors of a network lie in its flat vectors: the same in memory and in files."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One tensor's place in a flat vector."""

    name: str
    kind: str
    """`parameter` (in the weights), `buffer` (in the buffers) or `frozen` (in the frozen vector,
    which is stored with round 0)
    """
    shape: tuple[int, ...]
    offset: int
    size: int
