"""The options of local training, and its result. The loop is in trainer.py."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge, Lt
from torch import Tensor

from mpifl.options import Count, Named, NonNegative, NonNegativeInt, Positive, options
from mpifl.schedules import SCHEDULES, Constant, Schedule
from mpifl.training.gradients import GRADIENTS, Gradient, Plain
from mpifl.training.messages import Vectors
from mpifl.training.optimizers import OPTIMIZERS, Optimizer, Sgd


@options
class Local:
    """A client's local training."""

    epochs: Count = 1
    """passes over the client's samples a round (when steps is 0)"""
    steps: NonNegativeInt = 0
    """minibatches a round, instead of epochs; 0: go by epochs"""
    batch: Count = 32
    """samples in a minibatch"""
    drop_last: bool = False
    """leave out the short last batch of a pass, unless it is the client's only one"""
    lr: Positive = 0.1
    """learning rate: the step size, before the schedule's factor"""
    schedule: Annotated[Schedule, Named(SCHEDULES, "constant")] = Constant()
    """factor on lr by round"""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """momentum of the local steps; 0: none"""
    nesterov: bool = False
    """whether momentum is Nesterov's"""
    momentum_state: Literal["reset", "persist"] = "reset"
    """of momentum, or adamw's moments: reset, zero at the start of a client's round; persist, where
    the client left it
    """
    optimizer: Annotated[Optimizer, Named(OPTIMIZERS, "sgd")] = Sgd()
    """which optimiser takes the local steps"""
    weight_decay: NonNegative = 0.0
    """strength of L2 regularisation: adds this much of the weights to the gradient; with adamw, to
    what it makes of the gradient
    """
    clip: NonNegative = 0.0
    """largest norm of the gradient; 0: no clipping"""
    clip_pull: bool = True
    """whether a quadratic term (prox, FedDyn ...) is clipped with the gradient; else pull y is
    added after the clip
    """
    gradient: Annotated[Gradient, Named(GRADIENTS, "plain")] = Plain()
    """which gradient a step takes"""
    loss: str = "ce"
    """terms add, wrappers wrap"""


class Trained(NamedTuple):
    """What a client's local training ended in."""

    y: Tensor
    """[d]: its weights, a new tensor"""
    steps: int
    accumulated: float
    """a_c: the sum of the weights with which the steps' gradients enter w - y = lr * sum a_k g_k
    (FedNova)
    """
    lr: float
    momentum: Tensor | None
    loss: float
    """mean of the minibatches' objective, the algorithm's own terms left out"""
    accuracy: float
    """share of the training samples classified right, as they were met"""
    carried: Tensor | None = None
    """[d]: what momentum of earlier rounds put into (w - y) / lr; None where it begins at zero"""
    moments: Vectors | None = None
    """those of adamw"""
    replayed: int = 0
    """how many of the steps were recorded ones, replayed"""
