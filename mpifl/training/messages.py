"""What travels between server and clients in a round, and what a client keeps between rounds.

Each part has one owner: the vectors of the algorithm, which chooses their names, stand apart from
what the loop itself sends and keeps. So no name of an algorithm can meet one of the loop's. Where
MPI and files want one level of names, `flat` puts `algorithm.` before the algorithm's.
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

_ALGORITHM, _MEAN, _MOMENTS = "algorithm.", "mean.", "moments."


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
    """end: a client diverged, and the config does not forgive that"""


class Order(NamedTuple):
    """What the server tells all ranks to do, in a round's broadcast."""

    action: Action
    round: int
    """the last round that counts"""
    evaluate: bool
    """whether the weights that come with it are to be evaluated"""
    checkpoint: bool
    """whether all ranks write a checkpoint first"""
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
        return _prefixed(_ALGORITHM, self.algorithm) | _unless_empty(self.buffers)

    def elements(self) -> int:
        """How many numbers a client is sent."""
        return sum(vector.numel() for vector in self.vectors().values())

    def flat(self) -> Vectors:
        """All of it as vectors of the weights' type, on one level of names."""
        vectors = self.vectors()
        *parts, means = self.order
        vectors["order"] = self.algorithm["w"].new_tensor(
            [float(part) for part in (*parts, *means)]
        )
        if self.other is not None:
            vectors["other"] = self.other
        if self.costs is not None:
            vectors["costs"] = self.costs
        return vectors

    @classmethod
    def from_flat(cls, vectors: Mapping[str, Tensor]) -> Sent:
        """The inverse of `flat`."""
        algorithm = owned(_ALGORITHM, vectors)
        action, round, evaluate, checkpoint, *means = vectors["order"].tolist()
        order = Order(
            Action(int(action)),
            int(round),
            bool(evaluate),
            bool(checkpoint),
            tuple(bool(mean) for mean in means),
        )
        return cls(
            algorithm,
            vectors.get("buffers", algorithm["w"].new_zeros(0)),
            order,
            vectors.get("other"),
            vectors.get("costs"),
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
            _prefixed(_ALGORITHM, self.algorithm)
            | _prefixed(_MEAN, self.means)
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
        return cls(owned(_ALGORITHM, vectors), buffers, owned(_MEAN, vectors))


@dataclass(frozen=True)
class ClientState:
    """What a client keeps between its rounds; None where nothing asks for it."""

    algorithm: Vectors
    """what the algorithm remembers of this client"""
    momentum: Tensor | None = None
    """[d], with `local.momentum_state = "persist"`"""
    previous: Model | None = None
    """its model after its last round, for losses that need it"""
    latest: Tensor | None = None
    """[d]: its weights after its last round, for the mean of all clients' latest models"""
    buffers: Tensor | None = None
    """[b]: its own BatchNorm statistics, with `buffers = "local"`"""
    moments: Vectors = field(default_factory=dict)
    """adamw's, with `local.momentum_state = "persist"`"""
    has_played: bool = False
    """whether `previous` and `buffers` are the client's own, not the initial ones"""

    @property
    def keeps_anything(self) -> bool:
        """Whether anything is kept."""
        return bool(self.flat())

    def flat(self) -> Vectors:
        """One level of names, empty for a client that keeps nothing."""
        vectors = _prefixed(_ALGORITHM, self.algorithm)
        if self.momentum is not None:
            vectors["momentum"] = self.momentum
        if self.previous is not None:
            vectors["previous"] = self.previous.weights
            vectors["previous_buffers"] = self.previous.buffers
        if self.latest is not None:
            vectors["latest"] = self.latest
        if self.buffers is not None:
            vectors["buffers"] = self.buffers
        vectors |= _prefixed(_MOMENTS, self.moments)
        own = self.buffers if self.previous is None else self.previous.weights
        if own is not None:
            vectors["met"] = torch.full((1,), float(self.has_played), dtype=own.dtype)
        return vectors

    @classmethod
    def from_flat(cls, vectors: Mapping[str, Tensor]) -> ClientState:
        """The inverse of `flat`; also of checkpoints up to 0.1, where nothing was prefixed."""
        algorithm = owned(_ALGORITHM, vectors)
        if not algorithm:
            algorithm = {n: vector for n, vector in vectors.items() if not _is_of_the_loop(n)}
        previous = None
        if "previous" in vectors:
            previous = Model(vectors["previous"], vectors["previous_buffers"])
        return cls(
            algorithm,
            vectors.get("momentum"),
            previous,
            vectors.get("latest"),
            vectors.get("buffers"),
            owned(_MOMENTS, vectors),
            "met" in vectors and bool(vectors["met"]),
        )

    def to(self, device: torch.device) -> ClientState:
        """The same on a device."""
        vectors = self.flat()
        if all(vector.device == device for vector in vectors.values()):
            return self
        moved = {name: vector.to(device) for name, vector in vectors.items()}
        return ClientState.from_flat(moved)


_OF_THE_LOOP = ("momentum", "previous", "previous_buffers", "latest", "buffers", "met")


def _is_of_the_loop(name: str) -> bool:
    return name in _OF_THE_LOOP or name.startswith(_MOMENTS)


def check_vectors(
    where: str, vectors: object, dtype: torch.dtype | None = None, like: Vectors | None = None
) -> Vectors:
    """`vectors`, if they are what an algorithm may give; else TypeError, which begins with `where`.

    That is a dict of vectors [n] of numbers, under names without a slash, of `dtype` if that is
    given, and of the names, sizes and types of `like` if that is given.
    """
    if not isinstance(vectors, dict):
        raise TypeError(f"{where}: expected a dict of vectors; got {type(vectors).__name__}")
    if like is not None and vectors.keys() != like.keys():
        raise TypeError(f"{where}: expected the names {list(like)}; got {list(vectors)}")
    for name, vector in vectors.items():
        if not isinstance(name, str) or not {"/", "\0"}.isdisjoint(name):
            raise TypeError(f"{where}: expected a name, a text without a slash; got {name!r}")
        if not isinstance(vector, Tensor) or vector.ndim != 1 or vector.dtype not in _STORABLE:
            got = f"{vector.dtype} {list(vector.shape)}" if isinstance(vector, Tensor) else vector
            raise TypeError(f"{where}: {name}: expected a vector [n] of numbers; got {got}")
        if dtype is not None and vector.dtype != dtype:
            raise TypeError(
                f"{where}: {name}: expected {dtype}, as the weights are; got {vector.dtype}"
            )
        if like is not None and (vector.dtype, vector.shape) != (
            like[name].dtype,
            like[name].shape,
        ):
            raise TypeError(
                f"{where}: {name}: expected {like[name].dtype} {list(like[name].shape)}, as before"
                f"; got {vector.dtype} {list(vector.shape)}"
            )
    return vectors


_STORABLE = {
    torch.float16,
    torch.float32,
    torch.float64,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.bool,
}


def _prefixed(owner: str, vectors: Vectors) -> Vectors:
    return {owner + name: vector for name, vector in vectors.items()}


def owned(owner: str, vectors: Mapping[str, Tensor]) -> Vectors:
    """The vectors whose names begin with `owner`, by the rest of their names."""
    return {n.removeprefix(owner): v for n, v in vectors.items() if n.startswith(owner)}


def _unless_empty(buffers: Tensor) -> Vectors:
    return {"buffers": buffers} if buffers.numel() else {}
