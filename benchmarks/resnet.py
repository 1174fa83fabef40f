"""ResNet-56's local steps against the usual PyTorch loop: do its model or flat vectors cost time?

The other is what one writes first: a network as in torchvision, in channels-last memory,
`torch.optim.SGD`, and a `deepcopy` of the global model for each client. Both play the same client
from the same weights.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import workloads
from benchmarks.bare import Bare
from benchmarks.pairs import interleave
from benchmarks.plain_resnet import PlainResNet56, with_weights
from benchmarks.report import Row
from mpifl.training.client import Task, play
from mpifl.training.client_states import ClientState
from mpifl.training.clients import Clients
from mpifl.training.messages import Sent


def resnet() -> list[Row]:
    """one client of ResNet-56 with BatchNorm and momentum, against a plain module, torch.optim.SGD
    and deepcopy
    """
    x = workloads.experiment(workloads.RESNET, rounds=1)
    clients = x.clients
    client = int(np.argsort(clients.sizes)[len(clients) // 2])
    w = clients.net.weights.clone()
    sent = Sent({"w": w}, clients.net.buffers.clone())
    task = Task(client, 1, sent, ClientState({}))
    model = with_weights(PlainResNet56(10), w)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    batches = Bare(nn.Linear(1, 1), clients).batches(client, 1)
    reply = play(clients, task).reply.algorithm["w"]
    usual = _flat(_usual(model, clients, batches))
    if not torch.allclose(reply, usual, atol=1e-4):
        apart = float((reply - usual).abs().max())
        raise AssertionError(f"the plain loop ended {apart:.1e} away: not the same work")
    times = interleave(lambda: play(clients, task), lambda: _usual(model, clients, batches), 12)
    return [Row.of(f"{len(batches)} steps of one client", times)]


def _usual(model: nn.Module, clients: Clients, batches: list[Tensor]) -> nn.Module:
    """The usual loop over the batches, on a copy of the model."""
    own = copy.deepcopy(model).train()
    local = clients.local
    samples = clients.samples
    optimizer = torch.optim.SGD(own.parameters(), lr=local.lr, momentum=local.momentum)
    for indices in batches:
        x = samples.pick(indices).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        functional.cross_entropy(own(x), samples.labels[indices]).backward()
        optimizer.step()
    return own


def _flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])
