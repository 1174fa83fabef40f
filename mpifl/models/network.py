"""What every network has: a forward pass that returns an `Output`, and what losses ask of it."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from mpifl.models.output import HiddenLayers


class Network(nn.Module):
    """A network that `Model.build` makes: `network(x, keep=...)` returns an `Output`.

    A ResNet also has residual `blocks`, which the option `gates` of its forward pass can skip, and
    a last stage that runs by itself.
    """

    blocks: int = 0
    """residual blocks"""
    classifier: str = "head.classifier"
    """the name of the layer that makes the logits; empty where there is none"""
    draws: bool = False
    """whether a forward pass may draw random numbers: its option `seed` then decides them"""

    fixed: tuple[str, ...] = ()
    """the names of parts that stay in evaluation mode: norms with frozen running statistics"""

    def train(self, mode: bool = True) -> Self:
        """Training mode, or with `mode` False evaluation mode, for all parts but the `fixed`."""
        super().train(mode)
        for name in self.fixed:
            self.get_submodule(name).eval()
        return self

    @property
    def has_features(self) -> bool:
        """Whether its outputs have features."""
        return True

    @property
    def hidden_layers(self) -> HiddenLayers:
        """Its hidden nonlinearities."""
        raise NotImplementedError

    def last_stage(self, x: Tensor, width: float) -> Tensor:
        """The output of the last stage alone, run at `width`, for an input `x [B, C, H, W]`."""
        raise NotImplementedError
