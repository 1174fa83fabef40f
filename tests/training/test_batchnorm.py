import pytest
import torch

from mpifl.models import MODELS
from mpifl.net import Net
from mpifl.training.batchnorm import BufferPolicy


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net(MODELS["resnet20"](norm="batch").build((3, 16, 16), 10))


def spread(net, mean, var):
    values = net.buffers.clone()
    for e in net.layout:
        if e.kind == "buffer":
            values[e.offset : e.offset + e.size] = mean if e.name.endswith("running_mean") else var
    return values


def combined(net, policy, clients):
    buffers = BufferPolicy(policy, net.layout)
    mean = sum(p * buffers.encode(b).double() for p, b in clients)
    return buffers.decode(mean if policy == "pooled" else mean.float(), torch.float32)


def test_pooled_statistics_keep_the_variance_between_clients(net):
    clients = [(0.5, spread(net, 3.0, 0.88)), (0.5, spread(net, -3.0, 0.88))]
    assert torch.allclose(combined(net, "pooled", clients), spread(net, 0.0, 9.88))
    assert torch.allclose(combined(net, "average", clients), spread(net, 0.0, 0.88))


def test_pooled_statistics_are_those_of_the_pooled_samples(net):
    a, b = torch.randn(300) * 2 + 5, torch.randn(700) - 1
    every = torch.cat([a, b])
    clients = [
        (n / 1000, spread(net, s.mean(), s.var(correction=0))) for n, s in ((300, a), (700, b))
    ]
    expected = spread(net, every.mean(), every.var(correction=0))
    assert torch.allclose(combined(net, "pooled", clients), expected, rtol=1e-5)


def test_pooled_variance_is_never_negative(net):
    client = spread(net, 1000.0, 0.0)
    assert combined(net, "pooled", [(1 / 3, client)] * 3).min() >= 0


def test_a_reply_is_a_copy(net):
    for policy in ("average", "pooled", "local"):
        reply = BufferPolicy(policy, net.layout).encode(net.buffers)
        net.buffers.add_(1)
        assert not torch.equal(reply, net.buffers)
