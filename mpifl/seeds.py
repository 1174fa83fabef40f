"""Named random streams: a draw depends on (run seed, purpose, client, round, ...), not on history.

A stream does not depend on the rank that asks, on the order, or on earlier draws. So a run gives
the same bits on any number of ranks and after any resume, and a method's draws do not depend on
what other methods are on.
"""

from __future__ import annotations

import hashlib

import numpy as np


def _purpose(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def generator(seed: int, purpose: str, *where: int) -> np.random.Generator:
    """The stream for `purpose` at `where` (client, round, step ...): Philox keyed by all of them.

    >>> a = generator(1, "shuffle", 3, 7)
    >>> again = generator(1, "shuffle", 3, 7)
    >>> bool((a.random(4) == again.random(4)).all())
    True
    >>> other = generator(1, "augment", 3, 7)
    >>> bool((a.random(4) == other.random(4)).any())
    False
    """
    entropy = (seed, _purpose(purpose), len(where), *where)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def integer(seed: int, purpose: str, *where: int) -> int:
    """A 63-bit seed from the same streams, for example for torch.manual_seed."""
    return int(generator(seed, purpose, *where).integers(2**63))
