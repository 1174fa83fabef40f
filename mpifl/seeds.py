"""Named random streams: every draw is a function of (run seed, purpose, client, round, ...), never
of history.

A stream does not depend on which rank asks, in which order, or what was drawn before; so a run
gives the same bits on any number of ranks and after any resume, and enabling one method never moves
another's draws.
"""

from __future__ import annotations

import hashlib

import numpy as np


def _purpose(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def generator(seed: int, purpose: str, *where: int) -> np.random.Generator:
    """The stream for `purpose` at `where` (client, round, step ...): Philox keyed by all of them.

    >>> int(generator(1, "shuffle", 3, 7).integers(10**6)) == int(generator(1, "shuffle", 3, 7).integers(10**6))
    True
    >>> a, b = generator(1, "shuffle", 3, 7), generator(1, "augment", 3, 7)
    >>> bool((a.random(4) == b.random(4)).any())
    False
    """
    entropy = (seed, _purpose(purpose), len(where), *where)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def integer(seed: int, purpose: str, *where: int) -> int:
    """One 63-bit seed from the same streams, for libraries that want an integer
    (torch.manual_seed).
    """
    return int(generator(seed, purpose, *where).integers(2**63))
