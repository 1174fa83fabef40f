"""Step: all that a loss may look at for one minibatch. All its terms share one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from mpifl import seeds
from mpifl.models.output import Output
from mpifl.net import Net, Weights

Answer = TypeVar("Answer")
Giver = TypeVar("Giver", bound=Callable[..., Any])


@dataclass(frozen=True)
class ClientRound:
    """What stays the same during one client's round."""

    seed: int
    client: int
    round: int
    classes: int
    labels: np.ndarray
    """int64: those of the client's training samples"""
    sent: Weights
    """the model that the client was sent"""
    previous: Weights | None = None
    """the client's own model after its last round; None before its first, or if no loss needs it"""
    initial: Weights | None = None
    """before the client's first round, if a loss needs `previous`: the run's initial model"""
    rounds: int = 1
    """of the whole run"""
    vectors: Mapping[str, Tensor] = field(default_factory=dict)
    """what the algorithm sent, by its names; a loss that reads `name` needs `sent.name`"""

    done: int = 0
    """steps that the client took in this round before those of this training"""
    answers: dict[Callable[[Step], Any], Any] = field(default_factory=dict)
    """the answers so far of functions that are `for_all_steps`"""

    @cached_property
    def counts(self) -> np.ndarray:
        """int64 [classes]: how many training samples of each class the client has."""
        return np.bincount(self.labels, minlength=self.classes)

    @cached_property
    def models(self) -> dict[str, Weights]:
        """The sent vectors that are weights [d], as models with the sent buffers."""
        weights, buffers = self.sent
        models = {}
        for name, vector in self.vectors.items():
            if vector.shape == weights.shape:
                models[name] = (vector, buffers)
        return models


@dataclass
class Step:
    """One minibatch of one client."""

    net: Net
    x: Tensor
    y: Tensor
    context: ClientRound
    number: int
    """of this step in the client's round, from 0"""
    forward: dict[str, Any] = field(default_factory=dict)
    """options of the forward pass, such as gates"""
    frozen: dict[str, Any] = field(default_factory=dict)
    """options of the forward pass of models in evaluation mode"""
    passes: list[Output] = field(default_factory=list)
    """the forward passes so far, also those of derived steps"""
    answers: dict[Callable[[Step], Any], Any] = field(default_factory=dict)
    """what was `given` so far, also to derived steps"""
    _out: Output | None = field(default=None, init=False)

    @property
    def out(self) -> Output:
        """The forward pass of `x`: made once, when first asked for."""
        if self._out is None:  # Python 3.11's cached_property makes one at a time, of all threads
            self._out = self.net(self.x, **self.forward, **self._draws())
            self.passes.append(self._out)
        return self._out

    def _draws(self) -> dict[str, int]:
        """The option that decides what the network itself draws, such as dropout."""
        if not self.net.module.draws:
            return {}
        context = self.context
        where = (context.client, context.round, self.number, len(self.passes))
        return {"seed": seeds.integer(context.seed, "dropout", *where)}

    def derived(self, **changes: Any) -> Step:
        """This step with other images or another forward pass."""
        return replace(self, **changes)

    def relabelled(self, y: Tensor) -> Step:
        """This step with other labels, and the same forward pass."""
        step = replace(self, y=y)
        step._out = self.out
        return step

    def given(self, giver: Callable[[Step], Answer]) -> Answer:
        """What `giver(step)` is: a tensor, a tuple of tensors, a frozen copy of the net, or None.

        It may depend on the client, the round and the number of the step, but on nothing else of
        the step than its sizes. Steps of a loss that asks for such things in this way only can be
        recorded: each repetition is given its own. See `for_all_steps` for what all have alike.
        """
        if giver not in self.answers:
            known = self.answers
            if getattr(giver, "is_for_all_steps", False):
                known = self.context.answers
            if giver not in known:
                known[giver] = giver(self)
            self.answers[giver] = known[giver]
        answer: Answer = self.answers[giver]
        return answer

    def random(self, purpose: str) -> np.random.Generator:
        """The random stream for `purpose` at this step: a new generator, the same at each call.

        So the two gradients of a sharpness-aware step see the same draws, and the draws of a term
        do not depend on the other terms.
        """
        context = self.context
        number = context.done + self.number
        return seeds.generator(context.seed, purpose, context.client, context.round, number)


def for_all_steps(giver: Giver) -> Giver:
    """Let what steps are `given` by this function be made once for a client's training.

    It may use the client's round, but neither the number of a step nor its sizes; nothing may write
    into what it returns.
    """
    giver.is_for_all_steps = True  # type: ignore[attr-defined]
    return giver


def sent(step: Step) -> Net:
    """The model that the client was sent, frozen: to be `given`."""
    return step.net.twin("sent", step.context.sent)
