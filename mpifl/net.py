"""Net: a network whose weights, gradients and float buffers are views of flat vectors.

So a line of an algorithm is one vector operation, one MPI call sends a model, and a client starts
with two copies.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpifl.flat_layout import Entry
from mpifl.models.layers import is_norm
from mpifl.models.network import Network
from mpifl.models.output import Output

Weights = tuple[Tensor, Tensor]
"""a model as vectors: weights [d] and buffers [b]"""


class Coordinates(NamedTuple):
    """Which elements of the flat weights have a role of their own: bool vectors [d]."""

    classifier: Tensor
    """weights and biases of the layer that makes the logits"""
    norms: Tensor
    """scales and shifts of norms"""
    biases: Tensor
    """biases, and the shifts of norms"""


class Net:
    """A network and its flat vectors `weights [d]`, `gradient [d]` and `buffers [b]`.

    They are in the order of its parameters and buffers. Parameters that require no gradient, and
    running statistics that stay as they are, are in `frozen [f]`. Integer buffers, and
    those that a network does not save, stay in it: clients do not exchange them. `load` puts
    integers back to what they were at first, so that nothing is left of the client before.
    """

    def __init__(
        self, module: Network, device: torch.device | str = "cpu", channels_last: bool = False
    ) -> None:
        self.module = module.to(device)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        trained, constant = _parameters(module)
        moving, fixed, self._integers = _buffers(module)
        self.weights = _flatten(trained)
        self.gradient = torch.zeros_like(self.weights)
        self.buffers = _flatten(moving, like=self.weights)
        self.frozen = _flatten(constant + fixed, like=self.weights)
        weights = _entries(trained, "parameter")
        buffers = _entries(moving, "buffer")
        frozen = _entries(constant + fixed, "frozen")
        self.layout = weights + buffers + frozen
        self.bf16 = False
        """whether forward and backward passes compute in bfloat16 where torch.autocast does"""
        self._twins: dict[str, tuple[Net, Weights]] = {}
        for (_, parameter), entry in zip(trained, weights, strict=True):
            parameter.data = _view(self.weights, entry)
            parameter.grad = _view(self.gradient, entry)
        for (_, parameter), entry in zip(constant, frozen, strict=False):
            parameter.data = _view(self.frozen, entry)
        for (_, buffer), entry in zip(moving, buffers, strict=True):
            _replace(module, buffer, _view(self.buffers, entry))
        for (_, buffer), entry in zip(fixed, frozen[len(constant) :], strict=True):
            _replace(module, buffer, _view(self.frozen, entry))

    def tensors(self) -> dict[str, Tensor]:
        """All its parameters and buffers but integers, as views of the flat vectors, by name."""
        vectors = {"parameter": self.weights, "buffer": self.buffers, "frozen": self.frozen}
        return {entry.name: _view(vectors[entry.kind], entry) for entry in self.layout}

    @property
    def parameters(self) -> int:
        """How many numbers its parameters have, those that are frozen too."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @cached_property
    def scales(self) -> Tensor:
        """[d]: 0 for elements of biases, 1 for all others (matrices, kernels, scales ...)."""
        return (~self.coordinates.biases).to(self.weights.dtype)

    @cached_property
    def coordinates(self) -> Coordinates:
        """The elements of the weights by their roles."""
        classifier = torch.zeros_like(self.weights, dtype=torch.bool)
        norms = torch.zeros_like(classifier)
        biases = torch.zeros_like(classifier)
        name_of_classifier = self.module.classifier + "."
        for entry in self.layout:
            if entry.kind != "parameter":
                continue
            owner, _, _ = entry.name.rpartition(".")
            if entry.name.startswith(name_of_classifier):
                _view(classifier, entry).fill_(True)
            if is_norm(self.module.get_submodule(owner)):
                _view(norms, entry).fill_(True)
            if entry.name.endswith("bias"):
                _view(biases, entry).fill_(True)
        return Coordinates(classifier, norms, biases)

    def static(self) -> list[Tensor]:
        """All tensors that stay where they are, for steps that are replayed."""
        tensors = [self.gradient, *self.module.parameters(), *self.module.buffers()]
        if "scales" in self.__dict__:
            tensors.append(self.scales)
        for twin in self.twins:
            tensors += twin.static()
        return tensors

    @property
    def device(self) -> torch.device:
        """The device of its vectors."""
        return self.weights.device

    def placed(self, tensor: Tensor) -> Tensor:
        """A tensor of the host on the net's device; the host does not wait for it."""
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def load(self, weights: Tensor, buffers: Tensor | None = None) -> None:
        """Copy `weights [d]` (and `buffers [b]`) in."""
        self.weights.copy_(weights)
        if buffers is not None:
            self.buffers.copy_(buffers)
        for integer, first in self._integers:
            integer.copy_(first)

    def __call__(self, x: Tensor, **options: Any) -> Output:
        """The forward pass of images `x [B, C, H, W]`; options are those of the network."""
        return self.module(x.contiguous(memory_format=self.memory_format), **options)

    def cast(self) -> torch.autocast:
        """The context of its forward passes and of losses on them.

        Without torch's cache of narrow weights: all threads share it, and each one clears it.
        """
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=False
        )

    def copy(self) -> Net:
        """Another net like this one, with vectors of its own."""
        is_channels_last = self.memory_format is torch.channels_last
        other = Net(copy.deepcopy(self.module), self.device, is_channels_last)
        other.bf16 = self.bf16
        for (_, own_first), (_, first) in zip(other._integers, self._integers, strict=True):
            own_first.copy_(first)
        return other

    def twin(self, name: str, model: Weights) -> Net:
        """A frozen copy of the net in evaluation mode, with the weights and buffers of `model`.

        The copy is kept under `name`. It is loaded again only if `model` is another tuple than in
        the last call.
        """
        if name in self._twins:
            twin, loaded = self._twins[name]
            if loaded is model:
                return twin
        else:
            twin = self.copy()
            twin.module.eval()
            twin.module.requires_grad_(False)
        twin.load(*model)
        self._twins[name] = (twin, model)
        return twin

    @property
    def twins(self) -> list[Net]:
        """The frozen copies that `twin` has made."""
        return [twin for twin, _ in self._twins.values()]

    def take_gradient(self, loss: Tensor) -> Tensor:
        """The gradient [d] of `loss`: the net's gradient vector; the next call overwrites it."""
        self.gradient.zero_()
        loss.backward()
        return self.gradient


_Named = list[tuple[str, Tensor]]


def _parameters(module: Network) -> tuple[_Named, _Named]:
    """The parameters that train, and those that do not."""
    trained: _Named = []
    constant: _Named = []
    for name, parameter in module.named_parameters():
        found = trained if parameter.requires_grad else constant
        found.append((name, parameter))
    return trained, constant


def _buffers(module: Network) -> tuple[_Named, _Named, list[tuple[Tensor, Tensor]]]:
    """The float buffers of the model that move, and those that do not; the integers and copies."""
    moving: _Named = []
    fixed: _Named = []
    integers = []
    for name, buffer in module.named_buffers():
        owner, _, leaf = name.rpartition(".")
        if not buffer.is_floating_point():
            integers.append((buffer, buffer.clone()))
        elif leaf not in module.get_submodule(owner)._non_persistent_buffers_set:
            found = fixed if owner in getattr(module, "fixed", ()) else moving
            found.append((name, buffer))
    return moving, fixed, integers


def _replace(module: Network, buffer: Tensor, view: Tensor) -> None:
    """Put `view` in the place of `buffer`, in all submodules that have it."""
    for part in module.modules():
        for name, found in part._buffers.items():
            if found is buffer:
                part._buffers[name] = view


def _flatten(tensors: Sequence[tuple[str, Tensor]], like: Tensor | None = None) -> Tensor:
    if tensors:
        return torch.cat([t.detach().reshape(-1) for _, t in tensors])
    return torch.zeros(0) if like is None else like.new_zeros(0)


def _entries(tensors: Sequence[tuple[str, Tensor]], kind: str) -> list[Entry]:
    entries = []
    offset = 0
    for name, t in tensors:
        entries.append(Entry(name, kind, tuple(t.shape), offset, t.numel()))
        offset += t.numel()
    return entries


def _view(flat: Tensor, entry: Entry) -> Tensor:
    return flat[entry.offset : entry.offset + entry.size].view(entry.shape)


def trained(net: Net) -> str:
    """How many parameters a net has, and how many of them train, in words."""
    if len(net.weights) == net.parameters:
        return f"{net.parameters:,} parameters"
    return f"{len(net.weights):,} of {net.parameters:,} parameters train"


def digest(*vectors: Tensor) -> str:
    """SHA-256, in hex, of the vectors' little-endian bytes one after the other."""
    sha = hashlib.sha256()
    for vector in vectors:
        sha.update(vector.detach().cpu().contiguous().numpy().data)
    return sha.hexdigest()
