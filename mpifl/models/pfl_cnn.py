"""The CNN of pfl-research's CIFAR-10 benchmark (Granqvist et al., 2024), to compare simulators."""

from __future__ import annotations

from torch import nn

from mpifl.models.base import ConvModel, Shape
from mpifl.models.convnet import Convolution, Plain, convnet
from mpifl.options import options

LAYERS = (Convolution(32, 3, pool=False), Convolution(64, 3))


@options
class PflCnn(ConvModel):
    """conv3x3-32, conv3x3-64, pool, FC 128.

    1,626,442 parameters for CIFAR-10; weights are drawn by Glorot's rule.

    The original's two dropouts (0.25 and 0.5) are left out: training here is a function of weights
    and batch alone. Images under 6x6 pixels are padded by 1. At least 2x2 pixels.
    """

    name = "pfl_cnn"

    def build(self, shape: Shape, classes: int) -> Plain:
        network = convnet(self, shape, classes, LAYERS, (128,))
        for weight in network.parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)
        return network
