"""Schedules: a factor by round, on the local learning rate or on a loss's strength. Constant within
a round.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from mpifl.options import Count, Fraction, Share, options


@options
class Schedule(ABC):
    """What a strength is multiplied by."""

    @abstractmethod
    def __call__(self, round: int, rounds: int) -> float:
        """The factor of `round`, counted from 1, of a run of `rounds`."""


@options
class Constant(Schedule):
    """Always 1."""

    def __call__(self, round: int, rounds: int) -> float:
        return 1.0


@options
class Exponential(Schedule):
    """decay^(round - 1): the FedDyn family's 0.998 a round."""

    decay: Share = 0.998

    def __call__(self, round: int, rounds: int) -> float:
        return self.decay ** (round - 1)


@options
class Milestones(Schedule):
    """Multiplied by `factor` after each share of the rounds in `at`: FedNova's 0.1 at 50 % and 75
    %.
    """

    at: tuple[Fraction, ...] = (0.5, 0.75)
    factor: Share = 0.1

    def __call__(self, round: int, rounds: int) -> float:
        return self.factor ** sum(round - 1 >= share * rounds for share in self.at)


@options
class Cosine(Schedule):
    """From 1 to `floor` along half a cosine, after `warmup` rounds of linear increase."""

    floor: Fraction = 0.0
    warmup: Count = 1

    def __call__(self, round: int, rounds: int) -> float:
        if round < self.warmup:
            return round / self.warmup
        done = (round - self.warmup) / max(1, rounds - self.warmup)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * min(1.0, done))) / 2


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "exponential": Exponential,
    "milestones": Milestones,
    "cosine": Cosine,
}
