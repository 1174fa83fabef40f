"""ResNet-18 (He et al., 2016) in torchvision's layout, with a stem for small or large images."""

from __future__ import annotations

from typing import Literal

from mpifl.models.base import ConvModel, Shape
from mpifl.models.layers import NormKind
from mpifl.models.resnet import ConvSpec, ResNet, basic, layout
from mpifl.options import Count, options


@options
class ResNet18(ConvModel):
    """Four stages of two basic blocks, 64 to 512 channels: 11,689,512 parameters for ImageNet.

    At least 8x8 pixels with the CIFAR stem, 32x32 with ImageNet's.
    """

    name = "resnet18"
    channels_last = True
    supports = frozenset({"stages", "width", "gates"})
    norm: NormKind = "batch"
    stem: Literal["cifar", "imagenet"] = "cifar"
    """cifar: 3x3, stride 1; imagenet: 7x7, stride 2, and a 3x3 max-pool of stride 2"""
    cells: Count = 1
    """parts of the last map, down and across, whose means enter the classifier; FedLN's code has
    squares of 4 pixels: 2 parts for images of 64x64, 7 for 224x224"""

    def build(self, shape: Shape, classes: int) -> ResNet:
        small = self.stem == "cifar"
        self.check_size(shape, 8 if small else 32)
        stem = ConvSpec(64, 3) if small else ConvSpec(64, 7, 2)
        stages = layout(basic, (64, 128, 256, 512), 2)
        return ResNet(
            self, shape[0], classes, stem=stem, pool=not small, layout=stages, cells=self.cells
        )
