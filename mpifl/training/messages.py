"""What travels between server and clients in a round.

Each part has one owner: the vectors of the algorithm, which chooses their names, stand apart from
what the loop itself sends. So no name of an algorithm can meet one of the loop's. Where MPI and
files want one level of names, `flat` puts `algorithm.` before the algorithm's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

Vectors = dict[str, Tensor]
"""named flat vectors, each [n]"""

ALGORITHM = "algorithm."
"""before the names of the algorithm's vectors, where all are on one level"""
_MEAN = "mean."


class Model(NamedTuple):
    """A network's state as two flat vectors."""

    weights: Tensor
    """[d]"""
    buffers: Tensor
    """[b], BatchNorm's running statistics; empty for networks without"""


class Action(IntEnum):
    """What all ranks do next."""

    PLAY = 0
    """play another round"""
    FINISH = 1
    """end: all rounds are done, or the target accuracy is reached"""
    STOP = 2
    """end early: a signal asked for it"""
    FAIL = 3
    """end: a client diverged, where `divergence = "stop"` """


class Order(NamedTuple):
    """What the server tells all ranks to do, in a round's broadcast."""

    action: Action
    round: int
    """the last round that counts"""
    evaluate: bool
    """whether the weights that come with it are to be evaluated"""
    checkpoint: bool
    """whether all ranks write a checkpoint first"""
    lanes: int = 1
    """how many clients a rank trains at once"""
    means: tuple[bool, ...] = ()
    """which of `Clients.means` the server has, to be evaluated too"""

    @property
    def ends(self) -> bool:
        """Whether no further round is played."""
        return self.action != Action.PLAY

    @property
    def finishes(self) -> bool:
        """Whether the run is complete."""
        return self.action == Action.FINISH


NO_ORDER = Order(Action.PLAY, round=0, evaluate=False, checkpoint=False)


@dataclass(frozen=True)
class Sent:
    """What the server sends at the start of a round."""

    algorithm: Vectors
    """the algorithm's vectors; the weights [d] are under `w`"""
    buffers: Tensor
    """[b]"""
    order: Order = NO_ORDER
    other: Tensor | None = None
    """[d]: the server's weights, where clients start from others; no client of a real federation
    is sent them
    """
    costs: Tensor | None = None
    """[2 ranks]: what work takes on each rank (`dealing.Costs`)"""

    @property
    def start(self) -> Model:
        """The model from which clients start."""
        return Model(self.algorithm["w"], self.buffers)

    @property
    def model(self) -> Model:
        """The server's model."""
        return self.start if self.other is None else Model(self.other, self.buffers)

    def vectors(self) -> Vectors:
        """The vectors without the order, on one level of names; empty buffers are left out."""
        return prefixed(ALGORITHM, self.algorithm) | _unless_empty(self.buffers)

    def elements(self) -> int:
        """How many numbers a client is sent."""
        return sum(vector.numel() for vector in self.vectors().values())

    def flat(self) -> Vectors:
        """All of it as vectors of the weights' type, on one level of names."""
        vectors = self.vectors()
        *parts, means = self.order
        numbers = [float(part) for part in (*parts, *means)]
        vectors["order"] = self.algorithm["w"].new_tensor(numbers)
        if self.other is not None:
            vectors["other"] = self.other
        if self.costs is not None:
            vectors["costs"] = self.costs
        return vectors

    @classmethod
    def from_flat(cls, vectors: Mapping[str, Tensor]) -> Sent:
        """The inverse of `flat`."""
        algorithm = owned(ALGORITHM, vectors)
        action, round, evaluate, checkpoint, lanes, *means = vectors["order"].tolist()
        order = Order(
            Action(int(action)),
            int(round),
            bool(evaluate),
            bool(checkpoint),
            int(lanes),
            tuple(bool(mean) for mean in means),
        )
        return cls(
            algorithm,
            buffers=vectors.get("buffers", algorithm["w"].new_zeros(0)),
            order=order,
            other=vectors.get("other"),
            costs=vectors.get("costs"),
        )

    def to(self, device: torch.device) -> Sent:
        """The same on a device."""
        algorithm = {name: vector.to(device) for name, vector in self.algorithm.items()}
        other = None if self.other is None else self.other.to(device)
        return Sent(algorithm, self.buffers.to(device), self.order, other, self.costs)


@dataclass(frozen=True)
class Reply:
    """What a client answers; of several clients' replies the server gets the weighted mean."""

    algorithm: Vectors
    buffers: Tensor
    """[b], encoded by the policy for buffers"""
    means: Vectors = field(default_factory=dict)
    """a part for each mean of local models that is to be tested (`evaluation.models`)"""

    def flat(self) -> Vectors:
        """One level of names; empty buffers are left out."""
        return (
            prefixed(ALGORITHM, self.algorithm)
            | prefixed(_MEAN, self.means)
            | _unless_empty(self.buffers)
        )

    def elements(self) -> int:
        """How many numbers a client of a real federation would reply: `means` are for us only."""
        return sum(v.numel() for v in self.algorithm.values()) + self.buffers.numel()

    def divided_by(self, weight: float) -> Reply:
        """Every vector divided by a number."""
        return Reply.from_flat({name: vector / weight for name, vector in self.flat().items()})

    @classmethod
    def from_flat(cls, vectors: Mapping[str, Tensor]) -> Reply:
        """The inverse of `flat`."""
        buffers = vectors.get("buffers", torch.zeros(0))
        return cls(owned(ALGORITHM, vectors), buffers, owned(_MEAN, vectors))


def prefixed(owner: str, vectors: Vectors) -> Vectors:
    """The vectors under names that begin with `owner`."""
    return {owner + name: vector for name, vector in vectors.items()}


def owned(owner: str, vectors: Mapping[str, Tensor]) -> Vectors:
    """The vectors whose names begin with `owner`, by the rest of their names."""
    found = {}
    for name, vector in vectors.items():
        if name.startswith(owner):
            found[name.removeprefix(owner)] = vector
    return found


def _unless_empty(buffers: Tensor) -> Vectors:
    return {"buffers": buffers} if buffers.numel() else {}
