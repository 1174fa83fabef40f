"""Net: a module whose weights, gradients and float buffers are views of flat vectors.

So an algorithm's line is one vector operation, one MPI call moves a model, and a client starts with
two copies.
"""

from __future__ import annotations

import copy
import hashlib
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Entry(NamedTuple):
    """One row of a flat vector's table of contents."""

    name: str
    kind: str
    """`parameter` (in the weights) or `buffer` (in the buffers)"""
    shape: tuple[int, ...]
    offset: int
    size: int


class Net:
    """A module and its three flat vectors: `weights [d]`, `gradient [d]`, `buffers [b]`, in the
    module's order.

    Integer buffers stay in the module: they are no part of what clients exchange.
    """

    def __init__(
        self, module: nn.Module, device: torch.device | str = "cpu", channels_last: bool = False
    ) -> None:
        self.module = module.to(device)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        parameters = list(module.named_parameters())
        floating = [(name, b) for name, b in module.named_buffers() if b.is_floating_point()]
        self.weights = _flatten(parameters)
        self.gradient = torch.zeros_like(self.weights)
        self.buffers = _flatten(floating, like=self.weights)
        self.layout = _entries(parameters, "parameter") + _entries(floating, "buffer")
        self._twins: dict[str, tuple[Net, tuple[Tensor, Tensor]]] = {}
        for (_, parameter), entry in zip(parameters, self.layout, strict=False):
            parameter.data = _view(self.weights, entry)
            parameter.grad = _view(self.gradient, entry)
        for (name, _), entry in zip(floating, self.layout[len(parameters) :], strict=True):
            owner, _, leaf = name.rpartition(".")
            module.get_submodule(owner)._buffers[leaf] = _view(self.buffers, entry)

    @cached_property
    def scales(self) -> Tensor:
        """[d]: 0 where a parameter is a bias, 1 where it is not (a matrix, a kernel, a norm's
        scale, a position).
        """
        return torch.cat(
            [self.weights.new_full((e.size,), not e.name.endswith("bias")) for e in self._own()]
        )

    def _own(self) -> list[Entry]:
        return [entry for entry in self.layout if entry.kind == "parameter"]

    @property
    def device(self) -> torch.device:
        return self.weights.device

    def load(self, weights: Tensor, buffers: Tensor | None = None) -> None:
        """Copy `weights [d]` (and `buffers [b]`) in."""
        self.weights.copy_(weights)
        if buffers is not None:
            self.buffers.copy_(buffers)

    def __call__(self, x: Tensor, **kwargs):
        return self.module(x.contiguous(memory_format=self.memory_format), **kwargs)

    def twin(self, name: str, model: tuple[Tensor, Tensor]) -> Net:
        """A frozen copy of the net, in evaluation mode, with the weights and buffers of `model`;
        kept under `name`.

        It is loaded when `model` is another tuple than the last time.
        """
        twin, loaded = self._twins.get(name, (None, None))
        if twin is None:
            module = copy.deepcopy(self.module).requires_grad_(False).eval()
            twin = Net(module, self.device, self.memory_format is torch.channels_last)
        if loaded is not model:
            twin.load(*model)
        self._twins[name] = (twin, model)
        return twin

    def take_gradient(self, loss: Tensor) -> Tensor:
        """The gradient [d] of `loss`, in the net's own gradient vector (overwritten by the next
        call).
        """
        self.gradient.zero_()
        loss.backward()
        return self.gradient


def _flatten(tensors: list[tuple[str, Tensor]], like: Tensor | None = None) -> Tensor:
    if tensors:
        return torch.cat([t.detach().reshape(-1) for _, t in tensors])
    return torch.zeros(0) if like is None else like.new_zeros(0)


def _entries(tensors: list[tuple[str, Tensor]], kind: str) -> list[Entry]:
    entries, offset = [], 0
    for name, t in tensors:
        entries.append(Entry(name, kind, tuple(t.shape), offset, t.numel()))
        offset += t.numel()
    return entries


def _view(flat: Tensor, entry: Entry) -> Tensor:
    return flat[entry.offset : entry.offset + entry.size].view(entry.shape)


def digest(*vectors: Tensor) -> str:
    """SHA-256, in hex, of the vectors' little-endian bytes one after the other."""
    sha = hashlib.sha256()
    for vector in vectors:
        sha.update(vector.detach().cpu().contiguous().numpy())
    return sha.hexdigest()
