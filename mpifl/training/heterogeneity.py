"""How clients differ in what they can do: who is there, and how much of a round's work each does.

All draws are of named streams (availability, stragglers, work, speed) of the run's seed, so that
every method meets the same clients. Sources: Li et al. 2020, FedProx (stragglers); Wang et al.
2020, FedNova (work drawn by client and round); Gu et al. 2021, MIFA (availability by label);
Crawshaw and Liu 2024 (groups that are there in turn).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal, NamedTuple

import numpy as np

from mpifl import seeds
from mpifl.options import BadInput, Count, Fraction, Named, NonNegative, options


class SmallestLabels(NamedTuple):
    """What of the clients' data their availability may depend on."""

    of_clients: np.ndarray
    """int64 [C]: the smallest class that each client has training samples of"""
    classes: int
    """number of classes of the data"""


class Availability(ABC):
    """Who is there: the probability of each client in each round."""

    @abstractmethod
    def probabilities(self, round: int, labels: SmallestLabels, seed: int) -> np.ndarray:
        """f8 [C]: of each client in `round`."""

    def check(self, clients: int) -> None:  # noqa: B027 (most fit any number)
        """Raise BadInput unless this fits the number of clients."""


@options
class Always(Availability):
    """Every client is there in every round."""

    def probabilities(self, round: int, labels: SmallestLabels, seed: int) -> np.ndarray:
        return np.ones(len(labels.of_clients))


@options
class Random(Availability):
    """Each client is there with a probability, anew in each round."""

    probability: Fraction | tuple[Fraction, ...] = 0.5
    """one for all clients, or a list with one for each"""

    def probabilities(self, round: int, labels: SmallestLabels, seed: int) -> np.ndarray:
        return np.broadcast_to(self.probability, len(labels.of_clients)).astype("f8")

    def check(self, clients: int) -> None:
        if isinstance(self.probability, tuple) and len(self.probability) != clients:
            raise BadInput(
                f"heterogeneity.availability.probability: expected one, or one for each of "
                f"{clients} clients; got {len(self.probability)}"
            )


@options
class Uniform(Availability):
    """Each client has a probability of its own, drawn once between `least` and 1 (MIFA)."""

    least: Fraction = 0.1
    """the smallest probability"""

    def probabilities(self, round: int, labels: SmallestLabels, seed: int) -> np.ndarray:
        random = seeds.generator(seed, "availability of clients")
        return random.uniform(self.least, 1, len(labels.of_clients))


@options
class Labels(Availability):
    """The smaller a client's smallest label, the less often it is there (MIFA).

    p_c = least + (1 - least) min label_c / (classes - 1).
    """

    least: Fraction = 0.1
    """the probability of clients that have the first class"""

    def probabilities(self, round: int, labels: SmallestLabels, seed: int) -> np.ndarray:
        place = labels.of_clients / max(1, labels.classes - 1)
        return self.least + (1 - self.least) * place


@options
class Cyclic(Availability):
    """Groups of clients are there in turn; the first round is somewhere in the cycle, at random.

    The groups are blocks of client numbers, as even as can be.
    """

    groups: Count = 5
    """number of groups"""
    rounds: Count = 100
    """how many rounds a group is there before the next one is"""

    def probabilities(self, round: int, labels: SmallestLabels, seed: int) -> np.ndarray:
        offset = seeds.generator(seed, "availability of groups").integers(self.groups * self.rounds)
        clients = len(labels.of_clients)
        group = np.arange(clients) * self.groups // clients
        turn = (round - 1 + offset) // self.rounds % self.groups
        return (group == turn).astype("f8")

    def check(self, clients: int) -> None:
        if self.groups > clients:
            raise BadInput(
                f"heterogeneity.availability.groups: expected at most {clients}, the number of "
                f"clients; got {self.groups}"
            )


AVAILABILITIES: dict[str, type[Availability]] = {
    "always": Always,
    "random": Random,
    "uniform": Uniform,
    "labels": Labels,
    "cyclic": Cyclic,
}


@options
class Heterogeneity:
    """How clients differ in what they can do. By default all do all the work, always."""

    availability: Annotated[Availability, Named(AVAILABILITIES, "always")] = Always()
    """who is there; the round's cohort is drawn from these, of the same size if they are enough. A
    round in which nobody is there keeps the weights, and counts
    """
    stragglers: Fraction = 0.0
    """share of a round's clients that do only a part of the work, drawn anew in each round
    (FedProx: 0.5, 0.9)
    """
    late: Literal["keep", "drop"] = "keep"
    """what becomes of stragglers: they reply after fewer epochs (FedProx), or are too late and left
    out (FedAvg as FedProx compares with)
    """
    epochs: tuple[Count, ...] = ()
    """least and greatest number of epochs that a client draws in a round: a straggler; or without
    `stragglers` every client (FedNova: [2, 5]). Empty: for stragglers from 1 to local.epochs - 1,
    else all. With local.steps: a share of them, uniform in (0, 1]
    """
    speed: NonNegative = 0.0
    """spread of the clients' speeds exp(speed z), z normal, fixed for a run: slow ones do that part
    of the epochs (or local.steps), one at least; 0: all are fast enough
    """

    @property
    def is_nothing(self) -> bool:
        """Whether every client does all the work in every round."""
        return self == Heterogeneity()

    @property
    def draws_work(self) -> bool:
        """Whether the work of some clients is drawn in each round."""
        return bool(self.epochs) or (self.stragglers > 0 and self.late == "keep")

    def check(self, clients: int, epochs: int, steps: int) -> None:
        """Raise BadInput for what does not fit a run with local.epochs and local.steps."""
        self.availability.check(clients)
        if self.late == "drop" and self.stragglers == 0:
            raise BadInput(
                "heterogeneity.late: expected heterogeneity.stragglers above 0 with drop; got 0.0"
            )
        if self.epochs and steps:
            raise BadInput(
                "heterogeneity.epochs: expected none with local.steps, of which a share is drawn; "
                f"got {list(self.epochs)}"
            )
        if self.epochs and self.stragglers and self.late == "drop":
            raise BadInput(
                "heterogeneity.epochs: expected none where stragglers are dropped; got "
                f"{list(self.epochs)}"
            )
        if self.epochs and not (len(self.epochs) == 2 and self.epochs[0] <= self.epochs[1]):
            raise BadInput(
                "heterogeneity.epochs: expected the least and the greatest number, such as [2, 5]; "
                f"got {list(self.epochs)}"
            )
        if self.epochs and self.epochs[1] > epochs:
            raise BadInput(
                f"heterogeneity.epochs: expected at most local.epochs = {epochs}; got "
                f"{self.epochs[1]}"
            )
        if self.draws_work and not self.epochs and not steps and epochs < 2:
            raise BadInput(
                "heterogeneity.stragglers: expected local.epochs above 1, of which they do fewer, "
                'or heterogeneity.late = "drop"; got local.epochs = 1'
            )

    def there(self, round: int, labels: SmallestLabels, seed: int) -> np.ndarray:
        """bool [C]: which clients are there in `round`."""
        p = self.availability.probabilities(round, labels, seed)
        return seeds.generator(seed, "availability", round).random(len(p)) < p

    def straggling(self, cohort: np.ndarray, round: int, seed: int) -> np.ndarray:
        """bool [k]: which clients of a cohort (int64 [k]) are stragglers in `round`."""
        count = int(self.stragglers * len(cohort) + 0.5)
        drawn = seeds.generator(seed, "stragglers", round).permutation(cohort)[:count]
        return np.isin(cohort, drawn)

    def work(self, client: int, round: int, full: int, in_epochs: bool, seed: int) -> int:
        """How many of `full` epochs, or else minibatches, a client draws in `round`."""
        random = seeds.generator(seed, "work", client, round)
        if not in_epochs:
            return int(np.ceil((1 - random.random()) * full))
        least, most = self.epochs or (1, full - 1)
        return int(random.integers(least, most + 1))

    def reach(self, client: int, full: int, seed: int) -> int:
        """How many of `full` epochs or minibatches a client's speed allows."""
        if self.speed == 0:
            return full
        speed = np.exp(self.speed * seeds.generator(seed, "speed", client).standard_normal())
        return int(np.clip(np.floor(full * speed), 1, full))
