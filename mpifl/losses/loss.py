"""What a loss is: `loss(step) -> scalar`, and what it says about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from mpifl.losses.step import Step
from mpifl.models.network import Network
from mpifl.options import options


@options
class Loss(ABC):
    """A local objective, or a term of one.

    A subclass overrides `needs` and `regulariser` by a class variable, or by a property where they
    depend on its options.
    """

    @property
    def needs(self) -> frozenset[str]:
        """What it needs of the model ("activations", "stages", "width", "gates", "projection" ...),
        of the forward pass ("inputs", "squares": see `Output`) and of the client ("previous")."""
        return frozenset()

    @property
    def pull(self) -> float:
        """The strength of a quadratic term (pull/2)||y - w||^2; no perturbation applies to it."""
        return 0.0

    @property
    def regulariser(self) -> bool:
        """Whether it teaches the classifier no label. Then a term that does must be added to it."""
        return False

    @property
    def varies(self) -> bool:
        """Whether its draws change which operations a step takes, and of which shapes."""
        return False

    def check(self, network: Network) -> None:  # noqa: B027 (most losses fit every network)
        """Raise BadInput if the options do not fit a network, which has all that is in `needs`."""

    @abstractmethod
    def __call__(self, step: Step) -> Tensor:
        """The objective of one minibatch."""

    def evaluated(self, network: Network) -> dict[str, Any]:
        """Options of the forward pass in evaluation, for methods that change the model."""
        return {}


@options
class Wrapper(Loss):
    """A loss around another."""

    loss: Loss
    """the wrapped loss"""

    own_needs: ClassVar[frozenset[str]] = frozenset()
    """what the wrapper itself needs"""

    @property
    def needs(self) -> frozenset[str]:
        return self.own_needs | self.loss.needs

    @property
    def pull(self) -> float:
        return self.loss.pull

    @property
    def regulariser(self) -> bool:
        return self.loss.regulariser

    @property
    def varies(self) -> bool:
        return self.loss.varies

    def check(self, network: Network) -> None:
        self.loss.check(network)

    def evaluated(self, network: Network) -> dict[str, Any]:
        return self.loss.evaluated(network)


@options
class Sum(Loss):
    """The sum of one or more terms."""

    terms: tuple[Loss, ...]

    @property
    def needs(self) -> frozenset[str]:
        return frozenset().union(*(term.needs for term in self.terms))

    @property
    def pull(self) -> float:
        return sum(term.pull for term in self.terms)

    @property
    def regulariser(self) -> bool:
        return all(term.regulariser for term in self.terms)

    @property
    def varies(self) -> bool:
        return any(term.varies for term in self.terms)

    def check(self, network: Network) -> None:
        for term in self.terms:
            term.check(network)

    def __call__(self, step: Step) -> Tensor:
        first, *others = self.terms
        total = first(step)
        for term in others:
            total = total + term(step)
        return total

    def evaluated(self, network: Network) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for term in self.terms:
            options |= term.evaluated(network)
        return options
