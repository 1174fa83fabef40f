"""What the options of all models have in common: normalisation, capabilities, and the check of the
image's size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from mpifl.models.layers import FeatureNorm, NormKind, norm
from mpifl.models.output import KEEPABLE
from mpifl.options import BadInput, Count, NonNegativeInt, options

Shape = tuple[int, int, int]
"""Of one image: channels, height, width"""


@options
class Model(ABC):
    """Options of one architecture; `build` makes the network."""

    name: ClassVar[str]
    channels_last: ClassVar[bool] = False
    """whether training is faster on images in channels-last memory format (measured on CPUs)"""
    traits: ClassVar[frozenset[str]] = frozenset()

    classes: NonNegativeInt = 0
    """outputs of the classifier; 0: as many as the data has classes, and nothing else is accepted
    """
    norm: NormKind = "none"
    """batch, group, layer (over channels, height and width), none; or the parts of layer by sample:
    shift (to mean 0), scale (to mean square 1), l2 (to norm 1)"""
    groups: Count = 2
    """groups of norm = "group"; must divide every normalised layer's channels"""
    norm_affine: bool = True
    """whether norms have a learnt scale and shift"""
    feature_norm: FeatureNorm = False
    """whether what enters the classifier is scaled to norm sqrt(q); or instead l2 (to norm 1),
    shift (to mean 0), layer (to mean 0, then to norm sqrt(q))"""

    @property
    def capabilities(self) -> frozenset[str]:
        """What losses may ask of the network: what all have, and its own traits."""
        return self.traits | KEEPABLE | {"activations"}

    @abstractmethod
    def build(self, shape: Shape, classes: int) -> nn.Module:
        """A new network for images of `shape`, drawn from torch's global generator; `BadInput` for
        small images.
        """

    def make_norm(self, channels: int) -> nn.Module:
        return norm(self.norm, channels, groups=self.groups, affine=self.norm_affine)

    def check_size(self, shape: Shape, minimum: int) -> None:
        """Raise `BadInput` unless height and width are at least `minimum` pixels."""
        _, height, width = shape
        if min(height, width) < minimum:
            raise BadInput(
                f"model.name: {self.name} expected images of at least {minimum}x{minimum} pixels; "
                f"got {'x'.join(map(str, shape))}; choose a smaller model such as mlp"
            )


@options
class ConvModel(Model):
    """Options of convolutional networks."""

    norm_after_activation: bool = False
    """convolution, ReLU, norm (FedLN's order) instead of convolution, norm, ReLU"""
    projection: NonNegativeInt = 0
    """outputs of a projection head before the classifier (MOON); 0 = none"""

    @property
    def capabilities(self) -> frozenset[str]:
        own = super().capabilities
        return own | {"projection"} if self.projection else own
