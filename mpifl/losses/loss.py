"""What a loss is: `loss(step) -> scalar`, and what it says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from mpifl.losses.step import Step
from mpifl.options import options


@options
class Loss(ABC):
    """A term or a wrapper of a local objective."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """what it asks of the model (activations, stages, width, gates, projection ...), of its forward
    pass (inputs, squares: see `Output`) and of the client (previous)"""
    pull: ClassVar[float] = 0.0
    """strength of a quadratic term (pull/2)||y - w||^2, which is kept out of perturbations"""
    regulariser: ClassVar[bool] = False
    """whether it looks at no label, so that a term that does must stand beside it"""

    def check(self, module: nn.Module) -> None:  # noqa: B027 (most terms fit everywhere)
        """BadInput where the network, which has all that is in `needs`, does not fit the options."""

    @abstractmethod
    def __call__(self, step: Step) -> Tensor:
        """The objective of one minibatch."""

    def evaluated(self, module: nn.Module) -> dict[str, Any]:
        """Options of the forward pass in evaluation, for methods that change the model."""
        return {}


@options
class Wrapper(Loss):
    """A loss around another."""

    loss: Any

    @property
    def needs(self) -> frozenset[str]:
        return self.own_needs | self.loss.needs

    own_needs: ClassVar[frozenset[str]] = frozenset()

    @property
    def pull(self) -> float:
        return self.loss.pull

    @property
    def regulariser(self) -> bool:
        return self.loss.regulariser

    def check(self, module: nn.Module) -> None:
        self.loss.check(module)

    def evaluated(self, module: nn.Module) -> dict[str, Any]:
        return self.loss.evaluated(module)


class Sum:
    """The sum of several terms."""

    def __init__(self, terms: list[Loss]) -> None:
        self.terms = terms
        self.needs = frozenset().union(*(term.needs for term in terms))
        self.pull = sum(term.pull for term in terms)
        self.regulariser = all(term.regulariser for term in terms)

    def check(self, module: nn.Module) -> None:
        for term in self.terms:
            term.check(module)

    def __call__(self, step: Step) -> Tensor:
        total = self.terms[0](step)
        for term in self.terms[1:]:
            total = total + term(step)
        return total

    def evaluated(self, module: nn.Module) -> dict[str, Any]:
        """Options of the forward pass in evaluation, of all terms."""
        return {
            name: value for term in self.terms for name, value in term.evaluated(module).items()
        }
