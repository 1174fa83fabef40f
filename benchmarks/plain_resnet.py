"""ResNet-56 of FedML and FedAlign as in torchvision: `nn` modules and nothing of mpifl."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with four times the channels, and a shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inputs != 4 * planes:
            convolution = nn.Conv2d(inputs, 4 * planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(4 * planes))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class PlainResNet56(nn.Module):
    """Three stages of six bottlenecks of 16, 32 and 64 planes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        blocks = []
        inputs = 16
        for planes in (16, 32, 64):
            for index in range(6):
                stride = 2 if planes > 16 and index == 0 else 1
                blocks.append(Bottleneck(inputs, planes, stride))
                inputs = 4 * planes
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.pool(x), 1))


def with_weights(module: PlainResNet56, flat: Tensor) -> PlainResNet56:
    """`module` with the flat weights [d] of mpifl's model, whose parameters have the same order and
    shapes.
    """
    offset = 0
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(flat[offset : offset + parameter.numel()].view(parameter.shape))
            offset += parameter.numel()
    if offset != flat.numel():
        raise AssertionError(f"expected {flat.numel()} weights; the module has {offset}")
    return module
