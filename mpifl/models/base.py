"""What all models' options have in common: normalisation, capabilities, a check of image sizes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from mpifl.models.layers import FeatureNorm, NormKind, norm
from mpifl.models.lora import Lora
from mpifl.models.network import Network
from mpifl.models.output import KEEPABLE
from mpifl.options import BadInput, Count, NonNegativeInt, options

Shape = tuple[int, int, int]
"""of one image: channels, height, width"""


@options
class Architecture(ABC):
    """The options of one architecture; `build` makes the network."""

    name: ClassVar[str]
    channels_last: ClassVar[bool] = False
    """whether it trains on images in channels-last memory format, if `runtime.channels_last` is
    auto; faster for ResNets. It stays as it is, because another format changes the bits of runs
    """
    supports: ClassVar[frozenset[str]] = frozenset()
    """what losses may ask of this architecture: "pooling" (2x2 max-pools after convolutions),
    "stages" (of a ResNet), "width" and "gates" (options of the forward pass)"""

    classes: NonNegativeInt = 0
    """outputs of the classifier; 0: the number of the data's classes, and no other is accepted"""
    trainable: Literal["all", "head"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"
    """which weights train: all; those of the classifier (head); or those whose names fit one of
    these patterns, such as ["layer4.*", "fc"]. The others are in no message and no Hessian
    """
    lora: Lora = Lora()
    """train low-rank changes of linear layers instead, such as { rank = 8 }"""

    @property
    def capabilities(self) -> frozenset[str]:
        """What losses may ask of the network: what all networks have, and what it supports."""
        return self.supports | KEEPABLE | {"activations", "features"}

    @abstractmethod
    def build(self, shape: Shape, classes: int) -> Network:
        """A new network for images of `shape`; torch's global generator draws its weights.

        Raises `BadInput` for images that do not fit.
        """


@options
class Model(Architecture):
    """The options of mpifl's own networks, which can be normed in any way."""

    norm: NormKind = "none"
    """batch, group, layer (over channels, height and width), none; a part of layer: shift (each
    sample to mean 0), scale (to mean square 1), l2 (to norm 1); or weight: no norm, but the weights
    of the layer that would be normed are standardised in each pass (FedWon)"""
    groups: Count = 2
    """groups of norm = "group"; must divide the channels of every normalised layer"""
    norm_affine: bool = True
    """whether norms learn a scale and a shift"""
    feature_norm: FeatureNorm = False
    """whether the q features that enter the classifier are scaled to norm sqrt(q); or instead l2
    (to norm 1), shift (to mean 0), layer (to mean 0, then to norm sqrt(q))"""

    def make_norm(self, channels: int, layer: nn.Module | None = None) -> nn.Module:
        """The norm of these options for tensors [B, channels, ...].

        With norm = "weight" it standardises the weights of `layer` instead, which is the layer that
        makes these tensors, or the one that takes them in where norms come before layers.
        """
        return norm(self.norm, channels, layer, groups=self.groups, affine=self.norm_affine)

    def check_size(self, shape: Shape, minimum: int) -> None:
        """Raise `BadInput` unless height and width are at least `minimum` pixels."""
        _, height, width = shape
        if min(height, width) < minimum:
            got = "x".join(str(number) for number in shape)
            raise BadInput(
                f"model.name: {self.name} expected images of at least {minimum}x{minimum} pixels; "
                f"got {got}; choose a smaller model such as mlp"
            )


@options
class ConvModel(Model):
    """The options of convolutional networks."""

    norm_after_activation: bool = False
    """the order convolution, ReLU, norm (FedLN's) instead of convolution, norm, ReLU"""
    projection: NonNegativeInt = 0
    """outputs of a projection head before the classifier (MOON); 0: no head"""

    @property
    def capabilities(self) -> frozenset[str]:
        own = super().capabilities
        return own | {"projection"} if self.projection else own
