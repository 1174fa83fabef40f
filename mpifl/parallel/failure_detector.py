"""Signs of life: what was last heard of each rank, and which of them was silent for too long, or
left too early.
"""

from __future__ import annotations

from collections.abc import Set
from math import inf
from typing import NamedTuple

_LEFT = 10.0  # seconds in which a rank must stop waiting for one that has ended


class Sign(NamedTuple):
    """What was heard of a rank, at a `time`.

    The silence is its main thread's, below 0 while that waits inside MPI, and so long is it allowed
    to be (seconds).
    """

    time: float
    round: int
    client: int
    silence: float
    allowed: float


class Signs:
    """What `rank` knows from a `time` on of itself and of those that it hears; ranks are on
    `hosts`.
    """

    def __init__(self, rank: int, hosts: list[str], time: float) -> None:
        self._rank, self._hosts = rank, hosts
        heard = {0, rank} if rank else range(len(hosts))
        self._last = {rank: Sign(time, 0, -1, 0.0, inf) for rank in heard}
        self._left: dict[int, float] = {}

    def note(self, rank: int, sign: Sign) -> None:
        """That was heard of it."""
        self._last[rank] = sign

    def left(self, rank: int, time: float) -> None:
        """It has done its part and ended."""
        self._last.pop(rank, None)
        self._left[rank] = time

    def has_left(self, rank: int) -> bool:
        """Whether it has ended in order."""
        return rank in self._left

    def forgive(self, time: float) -> None:
        """Nothing could be heard until then."""
        self._last = {rank: sign._replace(time=time) for rank, sign in self._last.items()}

    def name(self, rank: int) -> str:
        """As in `rank 3 on node7`."""
        return f"rank {rank} on {self._hosts[rank]}"

    def place(self, rank: int) -> str:
        """Where it was last, as the end of a sentence; empty if that is not known."""
        sign = self._last.get(rank)
        return (
            f", last seen in round {sign.round} with client {sign.client}"
            if sign and sign.client >= 0
            else ""
        )

    def silence(self, rank: int, time: float) -> float:
        """Seconds for which its main thread, or all of it, has given no sign."""
        sign = self._last[rank]
        return time - sign.time + max(0.0, sign.silence)

    def judge(
        self, time: float, patience: float, more: float = 1.0, missing: Set[int] = frozenset()
    ) -> str:
        """What is wrong, in words; empty if nothing is.

        `patience` is for processes of which nothing is heard, except for the `missing`, of which
        nothing can be; it, and what is allowed to a rank, count `more` times.
        """
        for rank in sorted(self._last.keys() - missing, key=lambda rank: -self.silence(rank, time)):
            sign, silence = self._last[rank], self.silence(rank, time)
            if silence > more * sign.allowed or time - sign.time > more * patience:
                what = (
                    f"{self.name(rank)} gave no sign of life for {silence:.0f} s{self.place(rank)}"
                )
                return f"{what} (runtime.patience_minutes)"
        waits = -self._last[self._rank].silence
        for rank, since in self._left.items():
            if min(waits, time - since) > _LEFT:
                return f"{self.name(rank)} has ended before its time: this one waits for it"
        ranks = self._last.values()
        if (
            not missing
            and len(ranks) == len(self._hosts)
            and all(sign.silence < -more * patience for sign in ranks)
        ):
            return f"all ranks wait inside MPI, each for more than {patience:.0f} s (runtime.patience_minutes)"
        return ""
