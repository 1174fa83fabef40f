"""MAN's network for Tiny-ImageNet (2024): three 3x3 convolutions with group norm, 512, 384."""

from __future__ import annotations

from mpifl.models.base import ConvModel, Shape
from mpifl.models.convnet import Convolution, Plain, convnet
from mpifl.models.layers import NormKind
from mpifl.options import Count, options

LAYERS = (Convolution(64, 3), Convolution(64, 3), Convolution(64, 3))


@options
class TinyCnn(ConvModel):
    """3 x (conv3x3-64, norm, ReLU, pool), FC 512, FC 384.

    2,447,688 parameters for 200 classes of 3x64x64.

    Convolutions are padded by 1, so 64x64 pixels leave 8x8. Norms stand on the convolutions only.
    At least 8x8 pixels.
    """

    name = "tiny_cnn"
    supports = frozenset({"pooling", "tiny_cnn's layers"})
    norm: NormKind = "group"
    groups: Count = 4

    def build(self, shape: Shape, classes: int) -> Plain:
        return convnet(self, shape, classes, LAYERS, (512, 384), same=True)
