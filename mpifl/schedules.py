"""Schedules: a factor for each round, on the local learning rate or on the strength of a loss."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from mpifl.options import Count, Fraction, Share, options


@options
class Schedule(ABC):
    """A factor for each round; it is the same for all local steps of a round."""

    @abstractmethod
    def __call__(self, round: int, rounds: int) -> float:
        """The factor in `round`, counted from 1, of a run of `rounds`."""

    def in_version_0_1(self, round: int, rounds: int) -> float:
        """The factor that version 0.1 of mpifl had there."""
        return self(round, rounds)


@options
class Constant(Schedule):
    """Always 1."""

    def __call__(self, round: int, rounds: int) -> float:
        return 1.0


@options
class Exponential(Schedule):
    """decay^(round - 1). The FedDyn family has 0.998."""

    decay: Share = 0.998
    """factor from one round to the next"""

    def __call__(self, round: int, rounds: int) -> float:
        return self.decay ** (round - 1)


@options
class Milestones(Schedule):
    """Multiply by `factor` at each milestone. FedNova: by 0.1 after 50 % and 75 % of the rounds."""

    at: tuple[Fraction, ...] = (0.5, 0.75)
    """milestones, as shares of the rounds"""
    factor: Share = 0.1
    """factor at each milestone"""

    def __call__(self, round: int, rounds: int) -> float:
        # Rounded: 0.55 * 100 is 55.00000000000001.
        passed = [share for share in self.at if round - 1 >= _round_off(share * rounds)]
        return self.factor ** len(passed)

    def in_version_0_1(self, round: int, rounds: int) -> float:
        """Not rounded: some milestones came a round late."""
        passed = [share for share in self.at if round - 1 >= share * rounds]
        return self.factor ** len(passed)


@options
class Cosine(Schedule):
    """Half a cosine from 1 towards `floor`, after a linear increase to 1 in round `warmup`.

    As in SGDR (Loshchilov & Hutter 2017, eq. 5) and torch's CosineAnnealingLR, `floor` would be
    reached one round after the last: with floor = 0 the last round trains too.
    """

    floor: Fraction = 0.0
    """the least factor"""
    warmup: Count = 1
    """the round that has factor 1; until then the factor increases linearly"""

    def __call__(self, round: int, rounds: int) -> float:
        return self._factor(round, rounds - self.warmup + 1)

    def in_version_0_1(self, round: int, rounds: int) -> float:
        """It reached `floor` in the last round."""
        return self._factor(round, rounds - self.warmup)

    def _factor(self, round: int, length: int) -> float:
        """The factor in `round`, where the cosine has `length` rounds from 1 to `floor`."""
        if round < self.warmup:
            return round / self.warmup
        done = (round - self.warmup) / max(1, length)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * min(1.0, done))) / 2


@options
class Cyclic(Schedule):
    """From `start` on, falls linearly to `low` within each cycle: for `evaluation.average = "swa"`.

    As in the code of Caldarola et al. (2022), cycles are counted from the first round of the run.
    """

    start: Fraction = 0.75
    """the share of the rounds after which it begins"""
    cycle: Count = 10
    """rounds of a cycle"""
    low: Share = 0.01
    """the factor of a cycle's last round"""

    def __call__(self, round: int, rounds: int) -> float:
        if self.cycle == 1 or round - 1 < whole_rounds(self.start, rounds):
            return 1.0
        done = ((round - 1) % self.cycle + 1) / self.cycle
        return 1 - done + done * self.low


def whole_rounds(share: float, rounds: int) -> int:
    """How many whole rounds a share of all is."""
    return math.floor(_round_off(share * rounds))


def _round_off(value: float) -> float:
    """`value` without the error that a product of two floats has."""
    return round(value, 9)


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "exponential": Exponential,
    "milestones": Milestones,
    "cosine": Cosine,
    "cyclic": Cyclic,
}
