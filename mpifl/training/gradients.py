"""Gradients: which gradient a local step takes, as `gradient(minibatch, w) -> gradient to use`.

`minibatch(w)` may be asked more than once: for the same samples with the same random draws;
BatchNorm's running statistics move on the first call only.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Protocol

import torch
from torch import Tensor

from mpifl.options import Fraction, NonNegative, options


class MinibatchGradient(Protocol):
    """The gradient of one minibatch's loss, to be asked for at any weights."""

    @property
    def scales(self) -> Tensor:
        """[d]: 1 where a parameter is a weight, 0 where it is a bias."""

    def __call__(self, w: Tensor) -> Tensor:
        """The gradient [d] at `w [d]`; overwritten by the next call."""


class Oracle(ABC):
    """Which gradient a local step takes.

    Those of a config (`Gradient`) remember nothing. An algorithm may make one for a client's round
    that does, and that holds vectors.
    """

    vectors: tuple[Tensor, ...] = ()
    """what it holds; a step may put other vectors in their place, but writes into none"""
    replaced = 0
    """how many of them, from the first on, each step replaces"""

    @property
    def kind(self) -> Hashable:
        """All that its steps depend on beside its vectors: steps of one kind are recorded once.

        None: nobody knows, and no step is recorded.
        """
        return None

    def holding(self, vectors: tuple[Tensor, ...]) -> Oracle:
        """The same with other vectors."""
        other = copy.copy(self)
        other.vectors = vectors
        return other

    @abstractmethod
    def __call__(self, minibatch: MinibatchGradient, w: Tensor) -> Tensor:
        """The gradient [d] that a step at `w [d]` takes."""

    def clipped(self, g: Tensor) -> None:  # noqa: B027 (most do not listen)
        """Listen to the step's gradient `[d]` with the algorithm's terms, clipped, before decay."""


@options
class Gradient(Oracle):
    """What `local.gradient` may be."""

    @property
    def kind(self) -> Hashable:
        return self


def kind_of(oracle: Oracle) -> Hashable:
    """The `kind` of an oracle that comes with mpifl; None for yours, which may count its calls."""
    return oracle.kind if type(oracle).__module__.startswith("mpifl.") else None


_TINY = 1e-12  # the smallest norm that a gradient is divided by


def norm(vector: Tensor) -> Tensor:
    """The Euclidean norm `[1]` of `vector [d]`, at most the largest number of its dtype.

    The squares of float32 values above 1.8e19 are infinite, so their norm is taken in float64.
    """
    value = vector.norm(dim=-1, keepdim=True)
    wide = torch.linalg.vector_norm(vector, dim=-1, keepdim=True, dtype=torch.float64)
    largest = torch.finfo(vector.dtype).max
    return torch.where(value.isinf(), wide.clamp_max(largest).to(vector.dtype), value)


def over_norm(length: float, g: Tensor) -> Tensor:
    """`length / ||g||`, `[1]`: the factor that gives `g` this length."""
    return length / norm(g).clamp_min(_TINY)


@options
class Plain(Gradient):
    """The gradient at the current weights: stochastic gradient descent."""

    def __call__(self, minibatch: MinibatchGradient, w: Tensor) -> Tensor:
        return minibatch(w)


@options
class Sam(Gradient):
    """Sharpness-aware minimisation (Foret et al. 2021, eq. 2-3): the gradient at w + rho g/||g||;
    rho = 0 is plain.
    """

    rho: NonNegative = 0.05
    """length of the perturbation"""

    def __call__(self, minibatch: MinibatchGradient, w: Tensor) -> Tensor:
        g = minibatch(w)
        return minibatch(w + g * over_norm(self.rho, g)) if self.rho else g


@options
class Asam(Gradient):
    """Adaptive SAM (Kwon et al. 2021, eq. 5): at w + rho T^2 g/||T g||, T = |w| + eta for weights,
    1 for biases.
    """

    rho: NonNegative = 0.5
    """length of the perturbation"""
    eta: NonNegative = 0.2
    """added to the size of each weight"""

    def __call__(self, minibatch: MinibatchGradient, w: Tensor) -> Tensor:
        g = minibatch(w)
        if not self.rho:
            return g
        t = torch.where(minibatch.scales > 0, w.abs() + self.eta, 1.0)
        tg = t * g
        return minibatch(w + t * tg * over_norm(self.rho, tg))


@options
class Blend(Gradient):
    """FedSpeed's (Sun et al. 2023): (1 - mix) g(w) + mix g(w + rho g(w)); rho = 0 or mix = 0 is
    plain.
    """

    rho: NonNegative = 0.1
    """length of the perturbation"""
    mix: Fraction = 1.0
    """weight of the perturbed gradient"""
    normalise: bool = True
    """perturb by rho g/||g|| (the code) or by rho g (the paper)"""

    def __call__(self, minibatch: MinibatchGradient, w: Tensor) -> Tensor:
        g = minibatch(w)
        if not self.rho or not self.mix:
            return g
        first = None if self.mix == 1 else g.clone()
        step = over_norm(self.rho, g) if self.normalise else self.rho
        g = minibatch(w + g * step)
        return g if first is None else g.mul_(self.mix).add_(first, alpha=1 - self.mix)


GRADIENTS = {"plain": Plain, "sam": Sam, "asam": Asam, "blend": Blend}
