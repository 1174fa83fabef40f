"""Residual networks (He et al., 2016) whose width can be cut and whose blocks can be gated, pass by
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from mpifl.models.base import ConvModel
from mpifl.models.head import Head
from mpifl.models.layers import Conv, NoNorm, rounded
from mpifl.models.output import Keep, Kept, Output, Sites

MakeNorm = Callable[[int], nn.Module]


class Spec(NamedTuple):
    """One convolution of a residual branch or of the stem."""

    channels: int
    kernel: int
    stride: int = 1


def basic(planes: int, stride: int) -> tuple[Spec, ...]:
    """The two 3x3 convolutions of ResNet-18's blocks."""
    return Spec(planes, 3, stride), Spec(planes, 3)


def bottleneck(planes: int, stride: int) -> tuple[Spec, ...]:
    """1x1, 3x3, 1x1 with four times the channels; the stride is the 3x3's, as in torchvision and
    FedML.
    """
    return Spec(planes, 1), Spec(planes, 3, stride), Spec(4 * planes, 1)


class Unit(nn.Module):
    """A convolution with its norm and ReLU, in two halves, for a residual sum comes in between.

    `width` is None for the whole network, and a number for a sub-network pass: first channels only,
    running statistics left alone.
    """

    def __init__(self, inputs: int, spec: Spec, norm: nn.Module, after: bool) -> None:
        super().__init__()
        channels, kernel, stride = spec
        self.conv = Conv(inputs, channels, kernel, stride, kernel // 2, bias=False)
        self.norm, self.after = norm, after

    def linear(self, x: Tensor, width: float | None) -> Tensor:
        x = self.conv(x, None if width is None else rounded(self.conv.out_channels, width))
        return x if self.after else self.norm(x, width is not None)

    def activate(self, x: Tensor, width: float | None, kept: Kept) -> Tensor:
        x = kept.relu(x)
        return self.norm(x, width is not None) if self.after else x


class Block(nn.Module):
    """`relu(shortcut(x) + gate * branch(x))`."""

    def __init__(
        self, inputs: int, specs: Sequence[Spec], make_norm: MakeNorm, after: bool
    ) -> None:
        super().__init__()
        outputs, stride = specs[-1].channels, max(spec.stride for spec in specs)
        self.units, source = nn.ModuleList(), inputs
        for spec in specs:
            self.units.append(Unit(source, spec, make_norm(spec.channels), after))
            source = spec.channels
        self.shortcut = None
        if stride > 1 or inputs != outputs:
            # With norms after ReLUs the sum is normed by the last unit's, so the shortcut has none,
            # as in FedLN.
            norm = NoNorm() if after else make_norm(outputs)
            self.shortcut = Unit(inputs, Spec(outputs, 1, stride), norm, after)

    def forward(self, x: Tensor, width: float | None, gate: float, kept: Kept) -> Tensor:
        *inner, last = self.units
        shortcut = x if self.shortcut is None else self.shortcut.linear(x, width)
        if gate == 0:
            kept.skip(len(inner))
            return last.activate(shortcut.clone(), width, kept)
        for unit in inner:
            x = unit.activate(unit.linear(x, width), width, kept)
        branch = last.linear(x, width)
        branch = branch if gate == 1 else gate * branch
        return last.activate(branch.add_(shortcut), width, kept)


class ResNet(nn.Module):
    """Stem, stages of residual blocks, average pooling, head.

    `layout`: for each stage its blocks' convolutions. `pool`: a 3x3 max-pool of stride 2 after the
    stem. `cells`: parts, down and across, over which the last stage's map is averaged.
    """

    def __init__(
        self,
        options: ConvModel,
        inputs: int,
        classes: int,
        *,
        stem: Spec,
        pool: bool,
        layout: Sequence[Sequence[tuple[Spec, ...]]],
        cells: int = 1,
    ) -> None:
        super().__init__()
        make_norm, after = options.make_norm, options.norm_after_activation
        self.stem, self.pool = Unit(inputs, stem, make_norm(stem.channels), after), pool
        self.stages, source = nn.ModuleList(), stem.channels
        for blocks in layout:
            stage = nn.ModuleList()
            for specs in blocks:
                stage.append(Block(source, specs, make_norm, after))
                source = specs[-1].channels
            self.stages.append(stage)
        self.blocks, self.cells = sum(len(stage) for stage in self.stages), cells
        self.head = Head(
            source * cells**2,
            classes,
            projection=options.projection,
            normalise=options.feature_norm,
        )
        for part in self.modules():
            if isinstance(part, Conv):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    @property
    def sites(self) -> Sites:
        units = [[len(block.units) for block in stage] for stage in self.stages]
        blocks = tuple(accumulate(chain(*units)))  # the stem's nonlinearity is the first
        return Sites(1 + blocks[-1] + self.head.sites, blocks, tuple(accumulate(map(sum, units))))

    def forward(
        self,
        x: Tensor,
        *,
        width: float = 1.0,
        gates: Sequence[float] | None = None,
        keep: Keep = frozenset(),
    ) -> Output:
        """The pass at `width` in (0, 1], with residual branch i multiplied by `gates[i]` (`blocks`
        of them).

        A width under 1 runs the sub-network of each layer's first channels, on batch statistics,
        and leaves the running ones alone. A gate of 0 skips the branch altogether, its norms and
        activations too.
        """
        if not 0 < width <= 1:
            raise ValueError(f"width: expected a number in (0, 1]; got {width}")
        gates = [1.0] * self.blocks if gates is None else gates
        if len(gates) != self.blocks:
            raise ValueError(
                f"gates: expected one for each of {self.blocks} blocks; got {len(gates)}"
            )
        cut = None if width == 1 else width
        kept, gate = Kept(keep), iter(gates)
        x = self.stem.activate(self.stem.linear(x, cut), cut, kept)
        if self.pool:
            x = F.max_pool2d(x, 3, 2, 1)
        kept.stage(x)
        for stage in self.stages:
            for block in stage:
                x = block(x, cut, next(gate), kept)
            kept.stage(x)
        x = x.mean((2, 3)) if self.cells == 1 else F.adaptive_avg_pool2d(x, self.cells).flatten(1)
        return kept.output(*self.head(x, kept))

    def last_stage(self, x: Tensor, width: float) -> Tensor:
        """The last stage alone, as a sub-network of `width`, on features whose channels the caller
        has cut.

        Always a sub-network pass, at width 1 too: running statistics stay.
        """
        for block in self.stages[-1]:
            x = block(x, width, 1.0, Kept())
        return x


def layout(
    block: Callable[[int, int], tuple[Spec, ...]], planes: Sequence[int], depth: int
) -> list[list]:
    """Stages of `depth` blocks each; every stage but the first begins with stride 2."""
    return [
        [block(p, 2 if stage and not index else 1) for index in range(depth)]
        for stage, p in enumerate(planes)
    ]
