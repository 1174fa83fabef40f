"""A whole run of one client is plain stochastic gradient descent: nothing is added on the way."""

import pytest
import torch
from quadratics import weights_by_round
from torch import nn

from mpifl.runner import build, schema

CONFIG = {
    "rounds": 3,
    "clients": 1,
    "data": {"name": "synthetic", "options": {"shape": [3, 16, 16], "train": 60, "test": 10}},
    "partition": {"name": "iid"},
    "model": {"name": "cnn"},
    "local": {"batch": 16, "epochs": 2, "lr": 0.05, "weight_decay": 1e-3},
}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_run_of_one_client_equals_torch_sgd_on_the_same_batches(momentum):
    local = CONFIG["local"] | {"momentum": momentum, "momentum_state": "persist"}
    config = schema.resolve(CONFIG | {"local": local})
    x = build.experiment(config, build.load_data(config.data, config.seed), torch.device("cpu"))
    module = build.network(config, (3, 16, 16), 10, torch.device("cpu")).module.train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05, momentum=momentum, weight_decay=1e-3)
    for round, w in enumerate(weights_by_round(x), start=1):
        for images, labels in x.clients.batches(0, round):
            optimiser.zero_grad(set_to_none=False)
            nn.functional.cross_entropy(module(images).logits, labels).backward()
            optimiser.step()
        theirs = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
        assert (w - theirs).abs().max() < 3e-6 * theirs.abs().max()
