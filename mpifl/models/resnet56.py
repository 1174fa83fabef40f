"""FedML's bottleneck ResNets for CIFAR, and a shallow one.

ResNet-56 is the network of FedAlign (Mendieta et al., 2022).
"""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from mpifl.models.base import ConvModel, Shape
from mpifl.models.layers import NormKind
from mpifl.models.resnet import ConvSpec, ResNet, bottleneck, layout
from mpifl.options import options


@options
class CifarResNet(ConvModel, ABC):
    """3x3 stem of 16 channels, three stages of bottlenecks.

    They have 16, 32, 64 planes and 4 times the outputs.

    At least 4x4 pixels.
    """

    channels_last = True
    supports = frozenset({"stages", "width", "gates"})
    depth: ClassVar[int]
    norm: NormKind = "batch"

    def build(self, shape: Shape, classes: int) -> ResNet:
        self.check_size(shape, 4)
        stages = layout(bottleneck, (16, 32, 64), self.depth)
        return ResNet(self, shape[0], classes, stem=ConvSpec(16, 3), pool=False, layout=stages)


@options
class ResNet20(CifarResNet):
    """Two bottlenecks a stage: a 20-layer network for smaller budgets."""

    name = "resnet20"
    depth = 2


@options
class ResNet56(CifarResNet):
    """Six bottlenecks a stage; stages are 64x32x32, 128x16x16 and 256x8x8 on CIFAR.

    614,452 parameters for CIFAR-100.
    """

    name = "resnet56"
    depth = 6
