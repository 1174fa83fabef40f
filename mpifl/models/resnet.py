"""Residual networks (He et al., 2016).

Each forward pass can run at a smaller width and skip blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch.nn.functional as F
from torch import Tensor, nn

from mpifl.models.base import ConvModel
from mpifl.models.head import Head
from mpifl.models.layers import Conv, NoNorm, rounded
from mpifl.models.network import Network
from mpifl.models.output import HiddenLayers, Keep, Output, Recorder

MakeNorm = Callable[[int, nn.Module], nn.Module]
"""the norm of a layer with so many outputs"""


class ConvSpec(NamedTuple):
    """One convolution of a residual branch or of the stem."""

    channels: int
    kernel: int
    stride: int = 1


def basic(planes: int, stride: int) -> tuple[ConvSpec, ...]:
    """The two 3x3 convolutions of ResNet-18's blocks."""
    return ConvSpec(planes, 3, stride), ConvSpec(planes, 3)


def bottleneck(planes: int, stride: int) -> tuple[ConvSpec, ...]:
    """1x1, 3x3, 1x1 with four times the channels; the 3x3 has the stride (torchvision, FedML)."""
    return ConvSpec(planes, 1), ConvSpec(planes, 3, stride), ConvSpec(4 * planes, 1)


def _no_norm(channels: int, layer: nn.Module) -> nn.Module:
    return NoNorm()


class Unit(nn.Module):
    """A convolution with its norm and ReLU, in two halves: a residual sum may come between them.

    `width` is None for the whole network. A number is for a sub-network pass: it uses the first
    channels only and leaves the running statistics alone.
    """

    def __init__(self, inputs: int, spec: ConvSpec, make_norm: MakeNorm, after: bool) -> None:
        super().__init__()
        channels, kernel, stride = spec
        self.conv = Conv(inputs, channels, kernel, stride, kernel // 2, bias=False)
        self.norm = make_norm(channels, self.conv)
        self.after = after

    def linear(self, x: Tensor, width: float | None) -> Tensor:
        """The half before the ReLU."""
        if width is None:
            x = self.conv(x)
        else:
            x = self.conv(x, rounded(self.conv.out_channels, width))
        return x if self.after else self.norm(x, width is not None)

    def activate(self, x: Tensor, width: float | None, recorder: Recorder) -> Tensor:
        """The ReLU and what comes after it."""
        x = recorder.relu(x)
        return self.norm(x, width is not None) if self.after else x


class Block(nn.Module):
    """`relu(shortcut(x) + gate * branch(x))`."""

    def __init__(
        self, inputs: int, specs: Sequence[ConvSpec], make_norm: MakeNorm, after: bool
    ) -> None:
        super().__init__()
        outputs = specs[-1].channels
        stride = max(spec.stride for spec in specs)
        units = []
        source = inputs
        for spec in specs:
            units.append(Unit(source, spec, make_norm, after))
            source = spec.channels
        self.units = cast(Sequence[Unit], nn.ModuleList(units))
        self.shortcut: Unit | None = None
        if stride > 1 or inputs != outputs:
            # If norms come after ReLUs, the last unit's norm is applied to the sum, so the shortcut
            # has none, as in FedLN.
            if after:
                make_norm = _no_norm
            self.shortcut = Unit(inputs, ConvSpec(outputs, 1, stride), make_norm, after)

    def forward(self, x: Tensor, width: float | None, gate: float, recorder: Recorder) -> Tensor:
        *inner, last = self.units
        shortcut = x if self.shortcut is None else self.shortcut.linear(x, width)
        if gate == 0:
            recorder.skip(len(inner))
            return last.activate(shortcut.clone(), width, recorder)
        for unit in inner:
            x = unit.activate(unit.linear(x, width), width, recorder)
        branch = last.linear(x, width)
        if gate != 1:
            branch = gate * branch
        return last.activate(branch.add_(shortcut), width, recorder)


class ResNet(Network):
    """Stem, stages of residual blocks, average pooling, head.

    `layout`: for each stage, its blocks' convolutions. `pool`: a 3x3 max-pool of stride 2 follows
    the stem. `cells`: the last stage's map is averaged over cells x cells parts.
    """

    def __init__(
        self,
        options: ConvModel,
        inputs: int,
        classes: int,
        *,
        stem: ConvSpec,
        pool: bool,
        layout: Sequence[Sequence[tuple[ConvSpec, ...]]],
        cells: int = 1,
    ) -> None:
        super().__init__()
        make_norm = options.make_norm
        after = options.norm_after_activation
        self.stem = Unit(inputs, stem, make_norm, after)
        self.pool = pool
        self.cells = cells
        stages = []
        source = stem.channels
        for specs_of_stage in layout:
            stage = []
            for specs in specs_of_stage:
                stage.append(Block(source, specs, make_norm, after))
                source = specs[-1].channels
            stages.append(nn.ModuleList(stage))
        self.stages = cast(Sequence[Sequence[Block]], nn.ModuleList(stages))
        self.blocks = sum(len(stage) for stage in self.stages)
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
    def hidden_layers(self) -> HiddenLayers:
        last = 0  # the stem's nonlinearity
        ends_of_blocks = []
        ends_of_stages = []
        for stage in self.stages:
            for block in stage:
                last += len(block.units)
                ends_of_blocks.append(last)
            ends_of_stages.append(last)
        count = last + 1 + self.head.hidden_layers
        return HiddenLayers(count, tuple(ends_of_blocks), tuple(ends_of_stages))

    def forward(
        self,
        x: Tensor,
        *,
        width: float = 1.0,
        gates: Sequence[float] | None = None,
        keep: Keep = frozenset(),
    ) -> Output:
        """The pass at `width` in (0, 1].

        Residual branch i is multiplied by `gates[i]`, one gate for each of `blocks`. A width under
        1 runs the sub-network of each layer's first channels, with the batch's statistics, and
        leaves the running ones alone. A gate of 0 skips the whole branch, with its norms and
        activations.
        """
        if not 0 < width <= 1:
            raise ValueError(f"width: expected a number in (0, 1]; got {width}")
        gates = [1.0] * self.blocks if gates is None else gates
        if len(gates) != self.blocks:
            raise ValueError(
                f"gates: expected one for each of {self.blocks} blocks; got {len(gates)}"
            )
        cut = None if width == 1 else width
        recorder = Recorder(keep)
        gate = iter(gates)
        x = self.stem.activate(self.stem.linear(x, cut), cut, recorder)
        if self.pool:
            x = F.max_pool2d(x, 3, 2, 1)
        recorder.stage(x)
        for stage in self.stages:
            for block in stage:
                x = block(x, cut, next(gate), recorder)
            recorder.stage(x)
        x = x.mean((2, 3)) if self.cells == 1 else F.adaptive_avg_pool2d(x, self.cells).flatten(1)
        logits, features = self.head(x, recorder, narrow=cut is not None)
        return recorder.output(logits, features)

    def last_stage(self, x: Tensor, width: float) -> Tensor:
        """The output of the last stage alone, run as a sub-network of `width`.

        `x [B, C, H, W]` has the channels of that width. Running statistics are left alone, at width
        1 too.
        """
        for block in self.stages[-1]:
            x = block(x, width, 1.0, Recorder())
        return x


def layout(
    block: Callable[[int, int], tuple[ConvSpec, ...]], planes: Sequence[int], depth: int
) -> list[list[tuple[ConvSpec, ...]]]:
    """Stages of `depth` blocks each; every stage but the first begins with stride 2."""
    stages = []
    for number, planes_of_stage in enumerate(planes):
        stride = 1 if number == 0 else 2
        rest = [block(planes_of_stage, 1) for _ in range(depth - 1)]
        stages.append([block(planes_of_stage, stride), *rest])
    return stages
