"""LeNet-5 (LeCun et al., 1998) in its usual modern form: ReLU and max-pooling."""

from __future__ import annotations

from mpifl.models.base import ConvModel, Shape
from mpifl.models.convnet import Convolution, Plain, convnet
from mpifl.options import options

LAYERS = (Convolution(6, 5), Convolution(16, 5))


@options
class LeNet(ConvModel):
    """conv5x5-6, pool, conv5x5-16, pool, FC 120, FC 84.

    61,706 parameters for 10 classes of 1x32x32.

    Convolutions are not padded, except on images under 16x16 pixels: there, by 2. At least 4x4
    pixels.
    """

    name = "lenet"
    supports = frozenset({"pooling"})

    def build(self, shape: Shape, classes: int) -> Plain:
        return convnet(self, shape, classes, LAYERS, (120, 84))
