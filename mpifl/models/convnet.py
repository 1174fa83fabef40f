"""Plain stacks of convolutions and hidden linear layers: the base of cnn, lenet, mlp and others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from mpifl.models.base import ConvModel, Shape
from mpifl.models.head import Head
from mpifl.models.layers import Conv, Linear, NoNorm
from mpifl.models.network import Network
from mpifl.models.output import HiddenLayers, Keep, Output, Recorder

MakeNorm = Callable[[int, nn.Module], nn.Module]
"""the norm of a layer with so many outputs"""


class Convolution(NamedTuple):
    """A convolution of a plain network and whether a 2x2 max-pool follows it."""

    channels: int
    kernel: int
    pool: bool = True


class Hidden(nn.Module):
    """A weight layer, its norm, its ReLU, and with `pool` a 2x2 max-pool.

    With `after` the norm comes after the ReLU.
    """

    def __init__(
        self, layer: nn.Module, norm: nn.Module, *, after: bool = False, pool: bool = False
    ) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm
        self.after = after
        self.pool = pool

    def forward(self, x: Tensor, recorder: Recorder) -> Tensor:
        """The input of the next layer; `recorder` applies the ReLU."""
        x = self.layer(x)
        if self.after:
            x = self.norm(recorder.relu(x))
        else:
            x = recorder.relu(self.norm(x))
        return F.max_pool2d(x, 2) if self.pool else x


class Plain(Network):
    """Convolutions, then hidden linear layers, then the head."""

    def __init__(self, convolutions: Sequence[Hidden], dense: Sequence[Hidden], head: Head) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.dense = nn.ModuleList(dense)
        self.head = head

    @property
    def hidden_layers(self) -> HiddenLayers:
        return HiddenLayers(len(self.convolutions) + len(self.dense) + self.head.hidden_layers)

    def forward(self, x: Tensor, *, keep: Keep = frozenset()) -> Output:
        recorder = Recorder(keep)
        for hidden in self.convolutions:
            x = hidden(x, recorder)
        x = x.flatten(1)
        for hidden in self.dense:
            x = hidden(x, recorder)
        logits, features = self.head(x, recorder)
        return recorder.output(logits, features)


def side(pixels: int, layers: Sequence[Convolution], same: bool) -> int:
    """The pixels of one side of the last layer's output; below 1 if the image is too small."""
    for layer in layers:
        if not same:
            pixels -= layer.kernel - 1
        if layer.pool:
            pixels //= 2
    return pixels


def dense_layers(
    widths: Sequence[int],
    make_norm: MakeNorm,
    *,
    after: bool = False,
    bias: bool = True,
) -> list[Hidden]:
    """Hidden linear layers from widths[0] inputs to widths[-1] outputs."""
    pairs = zip(widths[:-1], widths[1:], strict=True)
    layers = [Linear(a, b, bias) for a, b in pairs]
    return [Hidden(layer, make_norm(layer.out_features, layer), after=after) for layer in layers]


def convnet(
    options: ConvModel,
    shape: Shape,
    classes: int,
    layers: Sequence[Convolution],
    dense: Sequence[int],
    *,
    same: bool = False,
    bias: bool = True,
    norm_dense: bool = False,
) -> Plain:
    """A plain network. `same`: pad the convolutions; `norm_dense`: norm hidden linear layers too.

    Convolutions are also padded if the image would otherwise be used up.
    """
    options.check_size(shape, 2 ** sum(layer.pool for layer in layers))
    channels, *size = shape
    same = same or min(side(pixels, layers, same) for pixels in size) < 1
    after = options.norm_after_activation
    stack = []
    for layer in layers:
        padding = layer.kernel // 2 if same else 0
        conv = Conv(channels, layer.channels, layer.kernel, padding=padding, bias=bias)
        norm = options.make_norm(layer.channels, conv)
        stack.append(Hidden(conv, norm, after=after, pool=layer.pool))
        channels = layer.channels
    height, width = (side(pixels, layers, same) for pixels in size)
    make_norm = options.make_norm if norm_dense else lambda channels, layer: NoNorm()
    hidden = dense_layers((channels * height * width, *dense), make_norm, after=after, bias=bias)
    head = Head(
        dense[-1], classes, projection=options.projection, normalise=options.feature_norm, bias=bias
    )
    return Plain(stack, hidden, head)
