"""LoRA (Hu et al. 2022): a linear layer's weight is W + (alpha / rank) B A with W frozen.

A [rank, in] is drawn uniformly from +-in^-1/2 and B [out, rank] is 0, so the network starts as it
was. With a frozen A (FFA-LoRA, Sun et al. 2024) a mean of clients' B is the mean of their B A.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.utils import parametrize

from mpifl.models.network import Network
from mpifl.models.patterns import matches, refuse_unmatched
from mpifl.options import NonNegative, NonNegativeInt, options

_WEIGHTS = {nn.Linear: "weight", nn.MultiheadAttention: "in_proj_weight"}
"""the matrix of a module that maps features linearly"""


@options
class Lora:
    """Low-rank changes of linear layers: only these train."""

    rank: NonNegativeInt = 0
    """rows of A and columns of B; 0: no LoRA"""
    alpha: NonNegative = 0.0
    """the change is (alpha / rank) B A; 0: alpha = rank, the change is B A"""
    layers: tuple[str, ...] = ("*",)
    """which linear layers, by patterns of their names, such as "*.qkv"; the classifier is left out
    """
    freeze_a: bool = False
    """whether A stays as it is drawn: then a mean of clients' changes is exact"""
    head: bool = False
    """whether the classifier trains too"""

    def apply(self, network: Network) -> None:
        """Add A and B to the chosen layers; torch's global generator draws A.

        Raises BadInput where a pattern names no linear layer.
        """
        layers = dict(_linear_layers(network))
        layers.pop(network.classifier, None)
        refuse_unmatched("model.lora.layers", self.layers, layers)
        for name, module in layers.items():
            if matches(name, self.layers):
                weight = _weight_of(module)
                change = LowRank(getattr(module, weight), self)
                parametrize.register_parametrization(module, weight, change)

    def is_trained(self, name: str, network: Network) -> bool:
        """Whether the parameter `name` trains."""
        if self.head and network.classifier and name.startswith(f"{network.classifier}."):
            return True
        owner, _, leaf = name.rpartition(".")
        if not isinstance(network.get_submodule(owner), LowRank):
            return False
        return leaf == "B" or not self.freeze_a


class LowRank(nn.Module):
    """W -> W + scale B A."""

    def __init__(self, weight: Tensor, lora: Lora) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        bound = inputs**-0.5
        self.A = nn.Parameter(weight.new_empty(lora.rank, inputs).uniform_(-bound, bound))
        self.B = nn.Parameter(weight.new_zeros(outputs, lora.rank))
        self.scale = lora.alpha / lora.rank if lora.alpha else 1.0

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.B @ self.A)


def _linear_layers(network: Network) -> Iterator[tuple[str, nn.Module]]:
    for name, module in network.named_modules():
        weight = _weight_of(module)
        if weight and getattr(module, weight) is not None:
            yield name, module


def _weight_of(module: nn.Module) -> str:
    """The name of its matrix; empty for a module that is not linear."""
    return next((name for kind, name in _WEIGHTS.items() if isinstance(module, kind)), "")
