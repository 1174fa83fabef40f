"""The one local training loop: what a client does between receiving weights and answering.

One step, in this order: the oracle's gradient, + the algorithm's linear and quadratic terms, clip,
+ weight decay, momentum, descent. The quadratic term's own half, pull y of pull (y - w), may stand
after the clip instead (`clip_pull = false`), as in the FedDyn family's codes, which leave it to the
optimiser's weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Literal, NamedTuple

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
from mpifl.training.gradients import GRADIENTS, Gradient, Plain


@options
class Local:
    """A client's local training."""

    epochs: Count = 1
    """passes over the client's samples a round (when steps is 0)"""
    steps: NonNegativeInt = 0
    """minibatches a round, instead of epochs; 0: go by epochs"""
    batch: Count = 32
    drop_last: bool = False
    """leave out the short last batch of a pass, unless it is the client's only one"""
    lr: Positive = 0.1
    schedule: Annotated[Schedule, Named(SCHEDULES, "constant")] = Constant()
    """factor on lr by round"""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    nesterov: bool = False
    momentum_state: Literal["reset", "persist"] = "reset"
    """reset: zero at the start of a client's round; persist: where the client left it"""
    weight_decay: NonNegative = 0.0
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


class Minibatch:
    """`gradient(w)` of one batch: may be asked at several weights, with the same draws each time."""

    def __init__(self, net: Net, loss: Loss, step: Callable[[], Step]) -> None:
        self._net, self._loss, self._step = net, loss, step
        self.loss: Tensor | None = None
        self.correct: Tensor | None = None

    @property
    def scales(self) -> Tensor:
        """`Net.scales`: made only for the oracles that ask."""
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
        if self.loss is not None:
            with untracked(self._net.module):
                return self._net.take_gradient(self._loss(self._step()))
        step = self._step()
        value = self._loss(step)
        self.loss = value.detach()
        self.correct = (step.passes[0].logits.detach().argmax(-1) == step.y).sum()
        return self._net.take_gradient(value)


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
    linear: Tensor | None = None,
    pull: float = 0.0,
) -> Trained:
    """Take a step on each of `batches`, from `w [d]`; the net's buffers move along in place.

    The objective is loss(y) + <linear, y> + (pull/2)||y - w||^2; `linear [d]`.
    """
    net.load(w)
    if not net.module.training:  # the walk over all modules costs as much as a small one's step
        net.module.train()
    pull = pull + loss.pull
    together = local.clip_pull or not local.clip
    v = (torch.zeros_like(w) if momentum is None else momentum.clone()) if local.momentum else None
    forward, frozen = (
        {"keep": keep} if (keep := loss.needs & KEEPABLE) else {},
        loss.evaluated(net.module),
    )
    losses, correct, samples, steps = 0.0, 0, 0, 0
    accumulated, v_a, carried, v_c = 0.0, 0.0, 0.0, 1.0
    for number, (x, y) in enumerate(batches):
        known = (net, x, y, context, number, forward, frozen)
        minibatch = Minibatch(net, loss, lambda known=known: Step(*known))
        g = local.gradient(minibatch, net.weights)
        if linear is not None:
            g.add_(linear)
        if pull:
            g.add_(net.weights - w if together else -w, alpha=pull)
        if local.clip:
            g.mul_((local.clip / (g.norm() + 1e-12)).clamp_(max=1.0))
        if pull and not together:
            g.add_(net.weights, alpha=pull)
        if local.weight_decay:
            g.add_(net.weights, alpha=local.weight_decay)
        unit, rest = 1.0 - lr * pull * accumulated, -lr * pull * carried
        if v is not None:
            v.mul_(local.momentum).add_(g)
            v_a, v_c = local.momentum * v_a + unit, local.momentum * v_c + rest
            g = g.add_(v, alpha=local.momentum) if local.nesterov else v
            unit = unit + local.momentum * v_a if local.nesterov else v_a
            rest = rest + local.momentum * v_c if local.nesterov else v_c
        net.weights.add_(g, alpha=-lr)
        accumulated, carried = accumulated + unit, carried + rest
        losses, correct = losses + minibatch.loss, correct + minibatch.correct
        samples, steps = samples + len(y), steps + 1
    before = None if v is None or momentum is None else carried * momentum
    figures = (float(losses) / steps, float(correct) / samples)
    return Trained(net.weights.clone(), steps, accumulated, lr, v, *figures, before)
