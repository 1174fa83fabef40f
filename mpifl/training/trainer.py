"""The one local training loop: what a client does between receiving weights and answering.

A step, in this order: the gradient that `local.gradient` takes, + the algorithm's linear and
quadratic terms, clip, + weight decay, momentum, descent. With `clip_pull = false` the half pull y
of the quadratic term's gradient pull (y - w) is added after the clip, as in the codes of the FedDyn
family, which leave it to the optimiser's weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mpifl.losses.loss import Loss
from mpifl.losses.step import ClientRound, Step
from mpifl.models.layers import untracked
from mpifl.models.output import KEEPABLE
from mpifl.net import Net
from mpifl.training.gradient_weights import GradientWeights
from mpifl.training.gradients import Oracle, kind_of, norm
from mpifl.training.local import Local, Trained
from mpifl.training.messages import Vectors
from mpifl.training.optimizers import AdamW, Moments
from mpifl.training.replay import Function, Outputs
from mpifl.training.steps import Answers, Graphs, Replays, Taken, Unknown, with_tensors


class Minibatch:
    """The gradient of one batch: may be asked for at several weights, with the same draws each
    time.
    """

    loss: Tensor
    """the objective at the weights that were asked for first"""
    correct: Tensor
    """how many samples were classified right there"""

    def __init__(self, net: Net, loss: Loss, step: Step) -> None:
        self._net = net
        self._loss = loss
        self._first_step = step
        self._was_asked = False

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
        step = self._first_step
        if self._was_asked:
            again = replace(step, passes=[])
            with untracked(self._net.module):
                return self._net.take_gradient(self._value(again))
        self._was_asked = True
        value = self._value(step)
        self.loss = value.detach()
        self.correct = (step.passes[0].logits.detach().argmax(-1) == step.y).sum()
        return self._net.take_gradient(value)

    def _value(self, step: Step) -> Tensor:
        if not self._net.bf16:
            return self._loss(step)
        with self._net.cast():
            return self._loss(step).float()


@dataclass
class _Course:
    """One client's training: what its steps use and move."""

    w: Tensor
    """[d]: where it began"""
    lr: float
    oracle: Oracle
    kind: Hashable
    """the oracle's"""
    linear: Tensor | None
    pull: float
    moving: Tensor | None
    velocity: Tensor | None
    adaptive: Moments | None

    @property
    def vectors(self) -> tuple[Tensor | None, ...]:
        """What steps read beside those of the oracle, [d] each: of w only the pull."""
        return (self.w if self.pull else None, self.linear, self.moving)


class Trainer:
    """The one local training loop, on one net."""

    def __init__(self, net: Net, loss: Loss, local: Local, graphs: Graphs = "auto") -> None:
        self._net = net
        self._loss = loss
        self._local = local
        self._replays = Replays(net, loss, local.gradient, graphs)
        self._clips_pull = local.clip_pull or not local.clip
        self._forward: dict[str, Any] = {}
        keep = loss.needs & KEEPABLE
        if keep:
            self._forward["keep"] = keep
        self._frozen = loss.evaluated(net.module)

    def is_for(self, loss: Loss, local: Local) -> bool:
        """Whether it trains with this loss and these options."""
        return loss is self._loss and local is self._local

    def __call__(
        self,
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

        The objective is loss(y) + <linear, y> + (pull/2)||y - w||^2; `linear [d]`; `momentum [d]`
        and adamw's `moments`, or None for a start at zero. `gradient`, `factor` and `moving` are
        those of `Train`.
        """
        net = self._net
        net.load(w)
        if not net.module.training:  # the walk over all modules costs as much as a small one's step
            net.module.train()
        oracle = gradient or self._local.gradient
        course = _Course(
            w=w,
            lr=lr,
            oracle=oracle,
            kind=kind_of(oracle),
            linear=linear,
            pull=pull + self._loss.pull,
            moving=moving,
            velocity=self._velocity(w, momentum),
            adaptive=self._adaptive(w, moments),
        )
        gradient_weights = GradientWeights(self._local, lr, course.pull)
        losses = []
        correct = []
        samples = 0
        before = self._replays.replayed
        for number, (x, y) in enumerate(batches):
            taken = self._gradient(course, x, y, context, number)
            step_factor = 1.0 if factor is None else factor(number)
            self._descend(course, taken.gradient, step_factor)
            gradient_weights.add_step(step_factor)
            losses.append(taken.loss)
            correct.append(taken.correct)
            samples += y.shape[0]
        carried = None
        if course.velocity is not None and momentum is not None:
            carried = gradient_weights.carried * momentum
        return Trained(
            y=net.weights.clone(),
            steps=len(losses),
            accumulated=gradient_weights.accumulated,
            lr=lr,
            momentum=course.velocity,
            loss=_total(losses) / len(losses),
            accuracy=_total(correct) / samples,
            carried=carried,
            moments=None if course.adaptive is None else course.adaptive.vectors(),
            replayed=self._replays.replayed - before,
        )

    def _velocity(self, w: Tensor, momentum: Tensor | None) -> Tensor | None:
        """The momentum to begin with, which the steps change; None without momentum."""
        if not self._local.momentum:
            return None
        return torch.zeros_like(w) if momentum is None else momentum.clone()

    def _adaptive(self, w: Tensor, moments: Vectors | None) -> Moments | None:
        """The moments to begin with, which the steps change; None without adamw."""
        optimizer = self._local.optimizer
        if not isinstance(optimizer, AdamW):
            return None
        return Moments(optimizer, moments or optimizer.initial(w))

    def _gradient(
        self, course: _Course, x: Tensor, y: Tensor, context: ClientRound, number: int
    ) -> Taken:
        """The gradient of a step with the algorithm's terms, clipped."""
        step = Step(self._net, x, y, context, number, self._forward, self._frozen)
        if course.kind is None:
            return self._taken(course, step)
        oracle = course.oracle
        inputs = [x, y, *oracle.vectors]
        vectors = course.vectors
        for vector in vectors:
            if vector is not None:
                inputs.append(vector)
        has_vectors = tuple(vector is not None for vector in vectors)
        key = (x.shape, x.stride(), x.dtype, course.pull, has_vectors, course.kind)
        taken = self._replays.repeat(key, step, inputs)
        if taken is None:
            taken = self._taken(course, step)
            make = partial(self._without_context, course, step.answers)
            self._replays.learn(key, step, make, inputs)
        elif oracle.replaced:
            oracle.vectors = (*taken.vectors, *oracle.vectors[oracle.replaced :])
        return taken

    def _without_context(self, course: _Course, answers: Answers) -> Function:
        """`_gradient` as a function of tensors: of the batch, of the vectors of the course and of
        its oracle, and of those that the step was given.
        """

        held = len(course.oracle.vectors)

        def function(x: Tensor, y: Tensor, *others: Tensor) -> Outputs:
            oracle = course.oracle.holding(others[:held]) if held else course.oracle
            rest = list(others[held:])
            w, linear, moving = (None if v is None else rest.pop(0) for v in course.vectors)
            given = with_tensors(answers, rest)
            context: Any = Unknown()
            step = Step(self._net, x, y, context, 0, self._forward, self._frozen, answers=given)
            own = replace(course, oracle=oracle, linear=linear, moving=moving)
            if w is not None:
                own.w = w
            return self._taken(own, step).flat()

        return function

    def _taken(self, course: _Course, step: Step) -> Taken:
        minibatch = Minibatch(self._net, self._loss, step)
        weights = self._net.weights
        g = course.oracle(minibatch, weights)
        self._add_terms(g, course)
        if course.moving is not None:
            g.mul_(course.moving)
        if self._local.clip:
            g.mul_((self._local.clip / (norm(g) + 1e-12)).clamp_(max=1.0))
        course.oracle.clipped(g)
        if course.pull and not self._clips_pull:
            g.add_(weights, alpha=course.pull)
        replaced = course.oracle.vectors[: course.oracle.replaced]
        return Taken(g, minibatch.loss, minibatch.correct, replaced)

    def _add_terms(self, g: Tensor, course: _Course) -> None:
        """Add the linear term's gradient to `g`, and of the quadratic term's what is clipped."""
        if course.linear is not None:
            g.add_(course.linear)
        if course.pull and self._clips_pull:
            g.add_(self._net.weights - course.w, alpha=course.pull)
        elif course.pull:
            g.add_(-course.w, alpha=course.pull)

    def _descend(self, course: _Course, g: Tensor, factor: float) -> None:
        """Move the net's weights by a step along `g`, with `factor` on the learning rate."""
        local = self._local
        weights = self._net.weights
        if course.adaptive is not None:
            g = course.adaptive.direction(g)
        if local.weight_decay:
            g.add_(weights, alpha=local.weight_decay)
        if course.velocity is not None:
            course.velocity.mul_(local.momentum).add_(g)
            if local.nesterov:
                g = g.add_(course.velocity, alpha=local.momentum)
            else:
                g = course.velocity
        if course.moving is not None:  # decay and momentum move no other coordinates either
            g = g * course.moving
        weights.add_(g, alpha=-course.lr * factor)


def _total(values: list[Tensor]) -> float:
    """The sum of one number of each step, added up on the device."""
    return float(sum(values[1:], start=values[0]))
