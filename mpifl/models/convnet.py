"""Plain stacks of convolutions and hidden linear layers: the network behind cnn, tiny_cnn, lenet,
mlp and others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from mpifl.models.base import ConvModel, Shape
from mpifl.models.head import Head
from mpifl.models.layers import Conv, Linear, NoNorm
from mpifl.models.output import Keep, Kept, Output, Sites


class Convolution(NamedTuple):
    """A convolution of a plain network and whether a 2x2 max-pool follows it."""

    channels: int
    kernel: int
    pool: bool = True


class Hidden(nn.Module):
    """A weight layer with its ReLU and norm, in either order, and maybe a 2x2 max-pool."""

    def __init__(
        self, layer: nn.Module, norm: nn.Module, *, after: bool = False, pool: bool = False
    ) -> None:
        super().__init__()
        self.layer, self.norm, self.after, self.pool = layer, norm, after, pool

    def forward(self, x: Tensor, kept: Kept) -> Tensor:
        """What the next layer gets; the ReLU is `kept`'s."""
        x = self.layer(x)
        x = kept.relu(x if self.after else self.norm(x))
        if self.after:
            x = self.norm(x)
        return F.max_pool2d(x, 2) if self.pool else x


class Plain(nn.Module):
    """Convolutions, then hidden linear layers, then the head."""

    def __init__(self, convolutions: Sequence[Hidden], dense: Sequence[Hidden], head: Head) -> None:
        super().__init__()
        self.convolutions, self.dense, self.head = (
            nn.ModuleList(convolutions),
            nn.ModuleList(dense),
            head,
        )

    @property
    def sites(self) -> Sites:
        return Sites(len(self.convolutions) + len(self.dense) + self.head.sites)

    def forward(self, x: Tensor, *, keep: Keep = frozenset()) -> Output:
        kept = Kept(keep)
        for hidden in self.convolutions:
            x = hidden(x, kept)
        x = x.flatten(1)
        for hidden in self.dense:
            x = hidden(x, kept)
        return kept.output(*self.head(x, kept))


def side(pixels: int, layers: Sequence[Convolution], same: bool) -> int:
    """Pixels left of one side of the image after all layers; below 1 where the image is too small."""
    for layer in layers:
        pixels -= 0 if same else layer.kernel - 1
        pixels //= 2 if layer.pool else 1
    return pixels


def dense_layers(
    widths: Sequence[int],
    make_norm: Callable[[int], nn.Module],
    *,
    after: bool = False,
    bias: bool = True,
) -> list[Hidden]:
    """Hidden linear layers from widths[0] inputs to widths[-1] outputs."""
    pairs = zip(widths[:-1], widths[1:], strict=True)
    return [Hidden(Linear(a, b, bias), make_norm(b), after=after) for a, b in pairs]


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
    """A plain network; `same` = padded convolutions, `norm_dense` = norms on the hidden linear
    layers too.

    Convolutions without padding are padded after all where the image would otherwise vanish.
    """
    options.check_size(shape, 2 ** sum(layer.pool for layer in layers))
    channels, *size = shape
    same = same or min(side(pixels, layers, same) for pixels in size) < 1
    after = options.norm_after_activation
    stack = []
    for layer in layers:
        conv = Conv(
            channels,
            layer.channels,
            layer.kernel,
            padding=layer.kernel // 2 if same else 0,
            bias=bias,
        )
        stack.append(Hidden(conv, options.make_norm(layer.channels), after=after, pool=layer.pool))
        channels = layer.channels
    height, width = (side(pixels, layers, same) for pixels in size)
    make_norm = options.make_norm if norm_dense else lambda channels: NoNorm()
    hidden = dense_layers((channels * height * width, *dense), make_norm, after=after, bias=bias)
    head = Head(
        dense[-1], classes, projection=options.projection, normalise=options.feature_norm, bias=bias
    )
    return Plain(stack, hidden, head)
