"""What a federated algorithm is.

An algorithm is a frozen dataclass: its fields are hyper-parameters, and all that it remembers
passes through its arguments, as dicts of flat vectors under names of its own choice. Reductions go
over the last axis, so that the same text serves one client and a stack of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from mpifl.net import Coordinates
from mpifl.options import options
from mpifl.training.gradients import Gradient, Oracle
from mpifl.training.local import Trained
from mpifl.training.messages import Vectors

Budget = Literal["samples", "steps", "sequence"]
"""what a client with the samples of all has in a round: as many samples as the clients of the
round's cohort; as many minibatches as they have together; or as one of them has on average
"""


class LocalRound(NamedTuple):
    """What an algorithm may know of the client's round that it plays."""

    round: int
    """from 1"""
    rounds: int
    """of the whole run"""
    lr: float
    """the local learning rate of this round"""
    first_lr: float
    """that of round 1"""
    steps: int
    """minibatches that the client trains on in this round"""
    mean_steps: int
    """those of a client with the mean number of samples"""
    relative_size: float
    """its number of samples over the mean one"""
    gradient: Gradient
    """the gradient that the config chose"""


class ServerRound(NamedTuple):
    """What an algorithm may know of the round that the server ends."""

    round: int
    """from 1"""
    rounds: int
    """of the whole run"""
    lr: float
    """the clients' learning rate in this round"""
    first_lr: float
    """that of round 1"""
    replies: int
    """how many clients' replies the mean is of"""
    share: float
    """the cohort's part of all clients' weight: S/N where all weigh alike, n_S/n where samples
    weigh. So share * mean is the cohort's part of a weighted mean over all clients.
    """


class Train(Protocol):
    """The local training that an algorithm is given: the one local loop, for one client's round."""

    @property
    def of(self) -> LocalRound:
        """The client's round."""

    def __call__(
        self,
        w: Tensor,
        *,
        linear: Tensor | None = None,
        pull: float = 0.0,
        gradient: Oracle | None = None,
        factor: Callable[[int], float] | None = None,
        moving: Tensor | None = None,
        epochs: int = 0,
    ) -> Trained:
        """Train from `w [d]` on loss(y) + <linear, y> + (pull/2)||y - w||^2; `linear [d]`.

        `gradient` is taken in place of the config's, which is `of.gradient`. It may hold vectors of
        this client and round. `factor(step)`, from step 0, multiplies the learning rate within the
        round. Coordinates where the bool vector `moving [d]` is False stay at `w`. `epochs`, if
        above 0, replaces the config's number of passes or steps. It may be called more than once:
        each call sees other minibatches, and the last one's end is the client's model.
        """


class TrainWith:
    """A `train` that takes another gradient."""

    def __init__(self, train: Train, gradient: Oracle) -> None:
        self._train = train
        self._gradient = gradient

    @property
    def of(self) -> LocalRound:
        """The client's round."""
        return self._train.of

    def __call__(self, w: Tensor, **terms: Any) -> Trained:
        """As `Train`, without its `gradient`."""
        return self._train(w, gradient=self._gradient, **terms)


@options
class Algorithm(ABC):
    """The base class of all algorithms: the functions that a round calls."""

    fresh_momentum: ClassVar[bool] = False
    """whether local momentum must begin at zero in each round"""
    has_average: ClassVar[bool] = False
    """whether its server has a second model, `average`"""
    personal: ClassVar[bool] = False
    """whether every client has a model of its own, with its own buffers, and is tested with it"""
    tests_own_domains: ClassVar[bool] = False
    """whether a client's own model is tested on those test samples only that are of the domains it
    trains on, where the data have domains
    """
    treats_apart: ClassVar[Literal["", "norms", "classifier"]] = ""
    """the coordinates that `placed` takes; networks that have none of them are refused"""
    communicates: ClassVar[bool] = True
    """whether a real federation would send what is sent here"""

    @property
    def kept(self) -> int:
        """How many of the weights stay with each client in a real federation."""
        return 0

    @property
    def needs_sgd(self) -> bool:
        """Whether it takes w - y for a sum of gradients, which with adamw it is not."""
        return False

    @property
    def pool(self) -> Budget | None:
        """Where one client trains on the samples of all: how much it does in a round."""
        return None

    @property
    def gradient(self) -> Gradient | None:
        """The gradient of its local steps, if the algorithm has its own; `local.gradient` must then
        stay plain.
        """
        return None

    def placed(self, coordinates: Coordinates) -> Algorithm:
        """The algorithm for a network, if it treats some `coordinates` of the weights apart."""
        return self

    def init_server(self, w: Tensor) -> Vectors:
        """What the server remembers before the first round."""
        return {}

    def init_client(self, w: Tensor) -> Vectors:
        """What a client remembers before its first round."""
        return {}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        """What every client of the cohort is sent; under `w` the weights from which it starts.

        The server tests its own `w`, whatever clients start from. Losses can read what is sent.
        """
        return {"w": w}

    @abstractmethod
    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        """One client's round: its reply, of new tensors, and all that it remembers from now on.

        It is also called before the first round, to count operations and vectors, and by
        `mpifl plan`: it must change nothing but what it returns.
        """

    def model(self, w: Tensor, own: Vectors) -> Tensor:
        """The client's own model [d], which is tested on its samples and stored; on the test set
        too, and in place of the server's, if models are `personal`.

        `w` are the weights that it was sent, or those where its training ended; `own` is what it
        remembers by then.
        """
        return w

    @abstractmethod
    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        """The next weights, and what the server remembers, from the replies' weighted mean."""

    def average(self, w: Tensor, server: Vectors) -> Tensor:
        """The server's second model [d], tested with `evaluation.models = ["average"]`."""
        raise NotImplementedError


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
        _check_vector(f"{where}: {name}", vector, dtype, None if like is None else like[name])
    return vectors


def _check_vector(
    where: str, vector: object, dtype: torch.dtype | None, like: Tensor | None
) -> None:
    if not isinstance(vector, Tensor) or vector.ndim != 1 or vector.dtype not in _STORABLE:
        raise TypeError(f"{where}: expected a vector [n] of numbers; got {_in_words(vector)}")
    if dtype is not None and vector.dtype != dtype:
        raise TypeError(f"{where}: expected {dtype}, as the weights are; got {vector.dtype}")
    if like is not None and (vector.dtype != like.dtype or vector.shape != like.shape):
        raise TypeError(f"{where}: expected {_in_words(like)}, as before; got {_in_words(vector)}")


def _in_words(vector: object) -> str:
    if isinstance(vector, Tensor):
        return f"{vector.dtype} {list(vector.shape)}"
    return str(vector)


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
