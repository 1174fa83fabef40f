"""The one local training loop: what a client does between receiving weights and answering.

A step, in this order: the gradient that `local.gradient` takes, + the algorithm's linear and
quadratic terms, clip, + weight decay, momentum, descent. With `clip_pull = false` the half pull y
of the quadratic term's gradient pull (y - w) is added after the clip, as in the codes of the FedDyn
family, which leave it to the optimiser's weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from mpifl.losses.loss import Loss
from mpifl.losses.step import ClientRound, Step
from mpifl.models.layers import untracked
from mpifl.models.output import KEEPABLE
from mpifl.net import Net
from mpifl.options import Count, Named, NonNegative, NonNegativeInt, Positive, options
from mpifl.schedules import SCHEDULES, Constant, Schedule
from mpifl.training.gradients import GRADIENTS, Gradient, Oracle, Plain, norm
from mpifl.training.messages import Vectors
from mpifl.training.optimizers import OPTIMIZERS, AdamW, Moments, Optimizer, Sgd


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


class Minibatch:
    """The gradient of one batch: may be asked for at several weights, with the same draws each
    time.
    """

    def __init__(self, net: Net, loss: Loss, new_step: Callable[[], Step]) -> None:
        self._net = net
        self._loss = loss
        self._new_step = new_step
        self._was_asked = False
        self.loss = torch.zeros(())
        """the objective at the weights that were asked for first"""
        self.correct = torch.zeros(())
        """how many samples were classified right there"""

    @property
    def scales(self) -> Tensor:
        """`Net.scales`: made only for the gradients that ask."""
        return self._net.scales

    def __call__(self, w: Tensor) -> Tensor:
        if w is self._net.weights:
            return self._gradient()
        kept = self._net.weights.clone()
        self._net.weights.copy_(w)
        gradient = self._gradient()
        self._net.weights.copy_(kept)
        return gradient

    def _gradient(self) -> Tensor:
        step = self._new_step()
        if self._was_asked:
            with untracked(self._net.module):
                return self._net.take_gradient(self._loss(step))
        self._was_asked = True
        value = self._loss(step)
        self.loss = value.detach()
        self.correct = (step.passes[0].logits.detach().argmax(-1) == step.y).sum()
        return self._net.take_gradient(value)


class _GradientWeights:
    """The coefficients a = sum a_k and kappa in w - y = lr * (sum a_k g_k + kappa v_0).

    g_k are the steps' gradients, and v_0 is the momentum that the client began with. A quadratic
    term makes both coefficients smaller.
    """

    def __init__(self, local: Local, lr: float, pull: float) -> None:
        self._local = local
        self._shrink = lr * pull
        self.accumulated = 0.0
        self.carried = 0.0
        self._momentum_accumulated = 0.0
        self._momentum_carried = 1.0

    def add_step(self, factor: float) -> None:
        """Another step was taken, with `factor` on the learning rate."""
        accumulated = 1.0 - self._shrink * self.accumulated
        carried = -self._shrink * self.carried
        beta = self._local.momentum
        if beta:
            self._momentum_accumulated = beta * self._momentum_accumulated + accumulated
            self._momentum_carried = beta * self._momentum_carried + carried
            if self._local.nesterov:
                accumulated = accumulated + beta * self._momentum_accumulated
                carried = carried + beta * self._momentum_carried
            else:
                accumulated = self._momentum_accumulated
                carried = self._momentum_carried
        self.accumulated = self.accumulated + factor * accumulated
        self.carried = self.carried + factor * carried


def train(
    net: Net,
    loss: Loss,
    local: Local,
    batches: Iterable[tuple[Tensor, Tensor]],
    context: ClientRound,
    lr: float,
    w: Tensor,
    *,
    momentum: Tensor | None = None,
    moments: Vectors | None = None,
    linear: Tensor | None = None,
    pull: float = 0.0,
    gradient: Oracle | None = None,
    factor: Callable[[int], float] | None = None,
    moving: Tensor | None = None,
) -> Trained:
    """Take a step on each of `batches`, from `w [d]`; the net's buffers move along in place.

    The objective is loss(y) + <linear, y> + (pull/2)||y - w||^2; `linear [d]`; `momentum [d]` and
    adamw's `moments`, or None for a start at zero. `gradient`, `factor` and `moving` are those of
    `Train`.
    """
    oracle = gradient or local.gradient
    net.load(w)
    if not net.module.training:  # the walk over all modules costs as much as a small one's step
        net.module.train()
    pull = pull + loss.pull
    clips_pull = local.clip_pull or not local.clip
    velocity = None
    if local.momentum:
        velocity = torch.zeros_like(w) if momentum is None else momentum.clone()
    adaptive = None
    if isinstance(local.optimizer, AdamW):
        adaptive = Moments(local.optimizer, moments or local.optimizer.initial(w))
    forward: dict[str, Any] = {}
    keep = loss.needs & KEEPABLE
    if keep:
        forward["keep"] = keep
    frozen = loss.evaluated(net.module)
    gradient_weights = _GradientWeights(local, lr, pull)
    loss_sum: Tensor | float = 0.0
    correct: Tensor | float = 0.0
    samples = 0
    steps = 0
    for number, (x, y) in enumerate(batches):
        new_step = partial(Step, net, x, y, context, number, forward, frozen)
        minibatch = Minibatch(net, loss, new_step)
        g = oracle(minibatch, net.weights)
        _add_terms(g, net.weights, w, linear, pull, clips_pull)
        if moving is not None:
            g.mul_(moving)
        if local.clip:
            g.mul_((local.clip / (norm(g) + 1e-12)).clamp_(max=1.0))
        oracle.clipped(g)
        if pull and not clips_pull:
            g.add_(net.weights, alpha=pull)
        if adaptive is not None:
            g = adaptive.direction(g)
        if local.weight_decay:
            g.add_(net.weights, alpha=local.weight_decay)
        if velocity is not None:
            velocity.mul_(local.momentum).add_(g)
            g = g.add_(velocity, alpha=local.momentum) if local.nesterov else velocity
        if moving is not None:  # decay and momentum move no other coordinates either
            g = g * moving
        step_factor = 1.0 if factor is None else factor(number)
        net.weights.add_(g, alpha=-lr * step_factor)
        gradient_weights.add_step(step_factor)
        loss_sum = loss_sum + minibatch.loss
        correct = correct + minibatch.correct
        samples += len(y)
        steps += 1
    carried = None
    if velocity is not None and momentum is not None:
        carried = gradient_weights.carried * momentum
    return Trained(
        net.weights.clone(),
        steps,
        gradient_weights.accumulated,
        lr,
        velocity,
        float(loss_sum) / steps,
        float(correct) / samples,
        carried,
        None if adaptive is None else adaptive.vectors(),
    )


def _add_terms(
    g: Tensor, y: Tensor, w: Tensor, linear: Tensor | None, pull: float, clips_pull: bool
) -> None:
    """Add to `g` the linear term's gradient, and of the quadratic term's what is clipped."""
    if linear is not None:
        g.add_(linear)
    if pull and clips_pull:
        g.add_(y - w, alpha=pull)
    elif pull:
        g.add_(-w, alpha=pull)
