"""Named random streams: a draw depends on (run seed, purpose, client, round, ...), not on history.

A stream does not depend on the rank that asks, on the order, or on earlier draws. So a run gives
the same bits on any number of ranks and after any resume, and a method's draws do not depend on
what other methods are on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

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


def generators(
    seed: int, purpose: str, firsts: Sequence[int], *rest: int
) -> Iterator[np.random.Generator]:
    """As `generator(seed, purpose, first, *rest)` for each of many `firsts` (below 2^32), quicker.

    It is one generator, set anew for each: take its draws before the next.

    >>> many = [float(random.random()) for random in generators(1, "shuffle", [3, 4], 7)]
    >>> many == [float(generator(1, "shuffle", first, 7).random()) for first in (3, 4)]
    True
    """
    if not len(firsts):
        return
    before = [word for part in (seed, _purpose(purpose), 1 + len(rest)) for word in _words(part)]
    after = [word for part in rest for word in _words(part)]
    entropy = [np.full(len(firsts), word, dtype=np.uint32) for word in (*before, 0, *after)]
    entropy[len(before)] = np.array(firsts, dtype=np.uint32)
    philox = np.random.Philox(0)
    random = np.random.Generator(philox)
    state: Any = philox.state
    for key in _keys(entropy):
        state["state"]["key"] = key
        philox.state = state
        yield random


def _words(number: int) -> list[int]:
    """A number as numpy's SeedSequence takes it in: 32 bits each, the lowest first."""
    words = [number & 0xFFFFFFFF]
    while number := number >> 32:
        words.append(number & 0xFFFFFFFF)
    return words


_POOL = 4
"""words of a SeedSequence's state"""


def _keys(entropy: list[np.ndarray]) -> np.ndarray:
    """uint64 [n, 2]: what `SeedSequence(...).generate_state(2, uint64)` gives, for n at once.

    `entropy` has the words, uint32 [n] each. This is numpy's algorithm (O'Neill 2015, "Developing
    a seed_seq alternative"), whose bits numpy promises to keep.
    """
    mixing = _Hash(0x43B0D7E5, 0x931E8875)
    words = entropy + [np.zeros_like(entropy[0])] * (_POOL - len(entropy))
    pool = [mixing(word) for word in words[:_POOL]]
    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                pool[target] = _mixed(pool[target], mixing(pool[source]))
    for word in words[_POOL:]:
        for target in range(_POOL):
            pool[target] = _mixed(pool[target], mixing(word))
    drawing = _Hash(0x8B51F9DD, 0x58F38DED)
    drawn = np.stack([drawing(word) for word in pool], axis=1)
    return drawn.astype("<u4").view("<u8")


class _Hash:
    """SeedSequence's hash of words; its constant changes with each call."""

    def __init__(self, constant: int, factor: int) -> None:
        self._constant = constant
        self._factor = factor

    def __call__(self, words: np.ndarray) -> np.ndarray:
        words = words ^ np.uint32(self._constant)
        self._constant = self._constant * self._factor & 0xFFFFFFFF
        words = words * np.uint32(self._constant)
        return words ^ words >> np.uint32(16)


def _mixed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    words: np.ndarray = first * np.uint32(0xCA01F9DD) - second * np.uint32(0x4973F715)
    return words ^ words >> np.uint32(16)
