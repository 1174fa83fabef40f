import pytest
import torch
from torch import nn

from mpifl.models import MODELS, OWN
from mpifl.models.adapted import adapted
from mpifl.net import Net, digest

SHAPE = {"tiny_cnn": (3, 32, 32), "mlp": (1, 8, 8)}


def make(name, **options):
    torch.manual_seed(0)
    return Net(MODELS[name](**options).build(SHAPE.get(name, (3, 16, 16)), 10))


@pytest.mark.parametrize("name", OWN)
def test_weights_gradients_and_buffers_are_views_of_the_flat_vectors(name):
    net = make(name)
    parameters = list(net.module.parameters())
    x = torch.randn(2, *SHAPE.get(name, (3, 16, 16)))
    net.take_gradient(net(x).logits.square().sum())
    assert torch.equal(net.weights, torch.cat([p.detach().reshape(-1) for p in parameters]))
    assert torch.equal(net.gradient, torch.cat([p.grad.reshape(-1) for p in parameters]))
    assert net.gradient.abs().sum() > 0
    net.weights.zero_()
    net.buffers.fill_(3.0)
    assert all(not p.any() for p in parameters)
    assert all((b == 3.0).all() for b in net.module.buffers())


def test_the_layout_says_where_each_tensor_lies():
    net = make("resnet20", norm="batch")
    tensors = dict(net.module.named_parameters()) | dict(net.module.named_buffers())
    vectors = {"parameter": net.weights, "buffer": net.buffers}
    assert {e.name for e in net.layout} == set(tensors)
    for e in net.layout:
        piece = vectors[e.kind][e.offset : e.offset + e.size].view(e.shape)
        assert torch.equal(piece, tensors[e.name])


def test_a_second_gradient_overwrites_the_first():
    net = make("mlp")
    x = torch.randn(4, 1, 8, 8)
    first = net.take_gradient(net(x).logits.sum()).clone()
    assert torch.equal(first, net.take_gradient(net(x).logits.sum()))


def test_loading_moves_the_module():
    net = make("mlp")
    net.load(torch.arange(len(net.weights), dtype=torch.float32))
    assert next(net.module.parameters()).flatten()[3].item() == 3.0


@pytest.mark.parametrize("name", OWN)
def test_all_but_biases_are_on_the_scale_of_weights(name):
    net = make(name, norm="group")
    biases = [e for e in net.layout if e.kind == "parameter" and not net.scales[e.offset]]
    assert all(e.name.endswith("bias") for e in biases)
    assert net.scales.sum() == len(net.weights) - sum(e.size for e in biases)
    others = {e.name for e in net.layout if e.kind == "parameter"} - {e.name for e in biases}
    assert others == {
        name for name, _ in net.module.named_parameters() if not name.endswith("bias")
    }
    assert "positions" in others or name != "vit"


def test_digest_is_the_sha256_of_the_bytes_in_order():
    import hashlib

    a, b = torch.arange(3.0), torch.ones(2)
    assert digest(a, b) == hashlib.sha256(a.numpy().tobytes() + b.numpy().tobytes()).hexdigest()
    assert digest(a, b) != digest(b, a)


def test_a_copied_net_has_the_same_vectors_in_memory_of_its_own_and_the_same_first_integers():
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 5))
    net = Net(adapted(layers, (3, 4, 4), 5))
    net.bf16 = True
    net.module.train()
    net(torch.randn(2, 3, 4, 4))
    assert layers[0].num_batches_tracked == 1
    copied = net.copy()
    assert copied.bf16
    for own, other in zip(copied.static(), net.static(), strict=True):
        assert own.equal(other)
        assert own.data_ptr() != other.data_ptr()
    copied.load(net.weights)
    assert copied.module.get_buffer("0.num_batches_tracked") == 0
