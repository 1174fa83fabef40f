"""Running means of the server's models: a second model, which is tested and never sent.

Any algorithm can have one: `evaluation.average`, tested with `evaluation.models = ["average"]`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

from annotated_types import Ge, Lt
from torch import Tensor

from mpifl.options import Count, Fraction, options
from mpifl.schedules import whole_rounds


@options
class Average(ABC):
    """What `evaluation.average` may be."""

    @abstractmethod
    def __call__(
        self, average: Tensor, before: Tensor, after: Tensor, round: int, rounds: int
    ) -> Tensor:
        """The next mean [d], from the last one, and the server's weights before and after a round.

        Before round 1 the mean is the initial weights.
        """


@options
class NoAverage(Average):
    """None, or that of an algorithm which has its own."""

    def __call__(
        self, average: Tensor, before: Tensor, after: Tensor, round: int, rounds: int
    ) -> Tensor:
        return after


@options
class Ema(Average):
    """An exponential moving average: a <- decay a + (1 - decay) w after each round."""

    decay: Annotated[float, Ge(0), Lt(1)] = 0.95
    """how much of the mean is kept in a round; 0: the model itself"""

    def __call__(
        self, average: Tensor, before: Tensor, after: Tensor, round: int, rounds: int
    ) -> Tensor:
        return self.decay * average + (1 - self.decay) * after


@options
class Swa(Average):
    """Stochastic weight averaging on the server (Caldarola et al. 2022): one model of each cycle.

    From round start * rounds on; until then the mean is the model itself. The schedule `cyclic`
    makes the learning rate fall in each cycle.
    """

    start: Fraction = 0.75
    """the share of the rounds after which it begins"""
    cycle: Count = 10
    """rounds of a cycle"""
    collect: Literal["end", "next"] = "end"
    """which model of a cycle counts: the last one, at the lowest rate, or as in the authors' code
    the first one of the next cycle
    """

    def __call__(
        self, average: Tensor, before: Tensor, after: Tensor, round: int, rounds: int
    ) -> Tensor:
        since = round - 1 - whole_rounds(self.start, rounds)
        if since < 0:
            return after
        if since == 0:
            average = before
        done = since + 1 if self.collect == "end" else since
        count, rest = divmod(done, self.cycle)
        if rest or not count:
            return average
        return average + (after - average) / count


AVERAGES: dict[str, type[Average]] = {"none": NoAverage, "ema": Ema, "swa": Swa}
