"""The bare loop: one process, plain PyTorch, flat weights, no framework. It does not even average.

The networks are plain `nn.Sequential`s with their parameters in the order of mpifl's models. So
both can start from the same flat weights, and must end with the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mpifl import seeds
from mpifl.data.batches import sequence
from mpifl.data.dataset import moments
from mpifl.training.clients import Clients


def pfl_cnn() -> nn.Module:
    """The pfl_cnn of 3x32x32 images and 10 classes."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12_544, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def mlp() -> nn.Module:
    """The mlp of 1x8x8 images and 10 classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


class Bare:
    """Local steps of plain SGD on a module; its weights and gradients are views of flat vectors."""

    def __init__(self, module: nn.Module, clients: Clients) -> None:
        device = clients.samples.labels.device
        self.module = module.to(device)
        self.clients = clients
        self.lr = clients.local.lr
        self.images = clients.samples.images
        self.labels = clients.samples.labels
        mean, std = moments(self.images.cpu().numpy())
        self.mean = torch.tensor(mean, device=device).float().view(1, -1, 1, 1)
        self.std = torch.tensor(std, device=device).float().view(1, -1, 1, 1)
        parameters = list(module.parameters())
        self.weights = torch.cat([p.detach().reshape(-1) for p in parameters])
        self.gradient = torch.zeros_like(self.weights)
        sizes = [p.numel() for p in parameters]
        weights = self.weights.split(sizes)
        gradients = self.gradient.split(sizes)
        for parameter, weight, gradient in zip(parameters, weights, gradients, strict=True):
            parameter.data = weight.view(parameter.shape)
            parameter.grad = gradient.view(parameter.shape)

    def batches(self, client: int, round: int) -> list[Tensor]:
        """The sample indices of each of the client's batches: the same as in mpifl."""
        local = self.clients.local
        shuffle = seeds.generator(self.clients.seed, "shuffle", client, round)
        own = self.clients.parts[client]
        order, lengths = sequence(own, local.batch, local.epochs, None, False, shuffle)
        return list(torch.from_numpy(order).to(self.labels.device).split(lengths))

    def play(self, w: Tensor, batches: Iterable[Tensor]) -> None:
        """One client: load the weights, take a step on each batch."""
        self.weights.copy_(w)
        for indices in batches:
            x = self.images[indices].float().div_(255).sub_(self.mean).div_(self.std)
            loss = functional.cross_entropy(self.module(x), self.labels[indices])
            self.gradient.zero_()
            loss.backward()
            self.weights.add_(self.gradient, alpha=-self.lr)
