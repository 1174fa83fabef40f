"""The CNN of Acar et al. (FedDyn, 2021) and MAN (2024): two 5x5 convolutions, 384, 192."""

from __future__ import annotations

from mpifl.models.base import ConvModel, Shape
from mpifl.models.convnet import Convolution, Plain, convnet
from mpifl.options import options

LAYERS = (Convolution(64, 5), Convolution(64, 5))
DENSE = (384, 192)


@options
class Cnn(ConvModel):
    """conv5x5-64, pool, conv5x5-64, pool, FC 384, FC 192: 815,332 parameters for CIFAR-100.

    Norms stand on the convolutions only. Convolutions are not padded, except on images under 16x16
    pixels, which would otherwise vanish: there, by 2 on each side. At least 4x4 pixels.
    """

    name = "cnn"
    supports = frozenset({"pooling"})

    def build(self, shape: Shape, classes: int) -> Plain:
        return convnet(self, shape, classes, LAYERS, DENSE)
