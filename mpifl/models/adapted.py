"""Any `nn.Module` that returns logits, as a `Network`: features and activations are found by
watching the torch functions that its forward pass calls.

The weights keep the names that they have in the module. So files of weights made elsewhere fit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mpifl.models.base import Shape
from mpifl.models.layers import untracked
from mpifl.models.network import Network
from mpifl.models.output import HiddenLayers, Keep, Output, Recorder
from mpifl.options import BadInput

_IN_F = (
    "relu relu6 leaky_relu rrelu elu celu selu gelu silu mish softplus softsign logsigmoid "
    "hardswish hardtanh tanh prelu relu_ leaky_relu_ rrelu_ elu_ celu_ selu_ hardtanh_"
)
_IN_TORCH = "relu prelu rrelu celu selu tanh relu_ rrelu_ celu_ selu_ tanh_"
_IN_TENSOR = "relu prelu tanh relu_ tanh_"


def _functions(owner: Any, names: str) -> set[Callable[..., Tensor]]:
    return {getattr(owner, name) for name in names.split() if hasattr(owner, name)}


NONLINEARITIES = (
    _functions(F, _IN_F) | _functions(torch, _IN_TORCH) | _functions(torch.Tensor, _IN_TENSOR)
)
"""functions whose outputs are hidden activations. Sigmoids are none: they mostly are gates."""


class Adapted(Network):
    """A module as a network; `classes` is the size of its logits.

    All that it draws from torch's generator, such as dropout, follows from the option `seed` of the
    forward pass. A batch with one value per channel is normalised by the running statistics, as in
    mpifl's own BatchNorm.
    """

    draws = True

    def __init__(self, inner: nn.Module, classes: int, repeats_grey: bool = False) -> None:
        """With `repeats_grey`, images of one channel are repeated to three."""
        super().__init__()
        self.inner = inner
        self.classes = classes
        self.classifier = ""
        self.repeats_grey = repeats_grey
        self._hidden = 0

    @property
    def hidden_layers(self) -> HiddenLayers:
        return HiddenLayers(self._hidden)

    @property
    def has_features(self) -> bool:
        """Whether a linear layer makes the logits."""
        return bool(self.classifier)

    def forward(self, x: Tensor, *, keep: Keep = frozenset(), seed: int = 0) -> Output:
        watch = _Watch(Recorder(keep), self.classes)
        with drawing_from(seed, x.device), watch:
            logits = self._logits(x)
        return watch.output(logits)

    def inspect(self, shape: Shape) -> None:
        """Try two images of `shape`: find the classifier and count the activations.

        Raises BadInput for a module that returns anything but logits [2, classes].
        """
        watch = _Watch(Recorder(), self.classes)
        self.train()
        buffers = dict(self.inner.named_buffers())
        with drawing_from(0, torch.device("cpu")), untracked(self), torch.enable_grad():
            images = torch.randn(2, *shape)
            with watch:
                logits = self._logits(images)
        _refuse_no_logits(logits, self.classes)
        self._refuse_replaced(buffers)
        self._hidden = len(watch.output(logits).activations)
        for name, parameter in self.inner.named_parameters():
            if parameter is watch.weight:
                self.classifier = name.rpartition(".")[0]

    def _refuse_replaced(self, buffers: Mapping[str, Tensor]) -> None:
        """Refuse buffers that a pass replaces: clients' buffers are views of a flat vector."""
        for name, after in self.inner.named_buffers():
            if buffers.get(name) is not after:
                raise BadInput(
                    f"model: expected buffers that a forward pass changes in place (copy_, add_ "
                    f"...); got {name}, which it replaces"
                )

    def _logits(self, x: Tensor) -> Tensor:
        if self.repeats_grey and x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        return self.inner(x)

    # The names of parameters, buffers and submodules are those in the module, without a prefix.

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        yield prefix, self
        yield from self.inner.named_modules(memo, prefix, remove_duplicate)

    def get_submodule(self, target: str) -> nn.Module:
        return self.inner.get_submodule(target)


class _Watch(TorchFunctionMode):
    """Sees every torch function that is called inside: records activations and features."""

    def __init__(self, recorder: Recorder, classes: int) -> None:
        super().__init__()
        self._recorder = recorder
        self._classes = classes
        self._features: Tensor | None = None
        self.weight: Tensor | None = None
        """of the last linear layer with as many outputs as classes"""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in NONLINEARITIES:
            args = args or (options.pop("input"),)
            return self._recorder.nonlinearity(func, *args, **options)
        if func is F.dropout:
            options["inplace"] = False  # a recorded activation may be its input
        if func is F.batch_norm and _is_one_value_per_channel(*args):
            options["training"] = False
        result = func(*args, **options)
        if func is F.linear and result.shape[-1] == self._classes:
            self._features = args[0]
            self.weight = args[1]
        return result

    def output(self, logits: Tensor) -> Output:
        """The `Output` of the pass, whose result was `logits`."""
        features = self._features
        if features is None:
            features = logits.new_zeros(len(logits), 0)
        return self._recorder.output(logits, features.flatten(1))


def _is_one_value_per_channel(x: Tensor, running_mean: Tensor | None = None, *_: Any) -> bool:
    return running_mean is not None and x.numel() == x.shape[1]


_DRAWING = threading.RLock()
"""torch's generators are the process's, and several threads may train clients"""


@contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """A context whose draws from torch's generators follow from `seed`, and move nobody else's."""
    devices = [device] if device.type == "cuda" else []
    with _DRAWING, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def adapted(inner: nn.Module, shape: Shape, classes: int, *, repeats_grey: bool = False) -> Network:
    """A module as a network for images of `shape`.

    Raises BadInput for one that does not take such images, or does not return logits.
    """
    if isinstance(inner, Network):  # one of mpifl's own kind, which says itself what it has
        return inner
    network = Adapted(inner, classes, repeats_grey)
    try:
        network.inspect(shape)
    except BadInput:
        raise
    except Exception as error:
        images = "x".join(str(number) for number in shape)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise BadInput(
            f"model: expected a network that takes images of {images} (channels, height, width) in "
            f"training mode; got {reason}"
        ) from error
    return network


def _refuse_no_logits(logits: object, classes: int) -> None:
    if not isinstance(logits, Tensor):
        raise BadInput(
            f"model: expected a network that returns one tensor of logits [B, {classes}]; got "
            f"{type(logits).__name__}; options such as aux_logits = false may switch others off"
        )
    if logits.shape != (2, classes):
        raise BadInput(
            f"model: expected logits [B, {classes}], one for each class of the data; got "
            f"{list(logits.shape)} for 2 images"
        )
    sums = logits.detach().sum(-1)
    if (logits >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        raise BadInput(
            "model: expected logits; got probabilities, which sum to 1; leave the softmax out"
        )
