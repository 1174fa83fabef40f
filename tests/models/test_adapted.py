"""Networks of other libraries and of users: what is found in them, and how they draw."""

from copy import deepcopy
from importlib.util import find_spec
from threading import Event, Thread

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mpifl.models import MODELS
from mpifl.models.adapted import Adapted, adapted, drawing_from
from mpifl.models.layers import untracked
from mpifl.models.mlp import Mlp
from mpifl.models.module import allow
from mpifl.net import Net
from mpifl.options import BadInput

SHAPE, CLASSES = (2, 4, 4), 3
ALL = frozenset({"inputs", "squares"})


class Plain(nn.Module):
    """Nonlinearities as a module, as functions and as a method, one in place; dropout."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.hidden = nn.Linear(64, 6)
        self.drop = nn.Dropout(0.5, inplace=True)
        self.last = nn.Linear(6, classes)

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        x = self.drop(F.gelu(self.hidden(x.flatten(1))))
        return self.last(x.tanh())


def network(module=None, shape=SHAPE):
    torch.manual_seed(0)
    return adapted(module or Plain(), shape, CLASSES)


def batch(n=5, shape=SHAPE, seed=1):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def test_activations_are_found_whichever_way_they_are_called():
    net = network().eval()
    out = net(batch())
    first = net.inner.norm(net.inner.conv(batch())).relu()
    second = F.gelu(net.inner.hidden(first.flatten(1)))
    assert net.hidden_layers.count == 3 and out.layer_numbers == (0, 1, 2)
    for got, expected in zip(out.activations, (first, second, second.tanh()), strict=True):
        torch.testing.assert_close(got, expected)
    torch.testing.assert_close(out.features, second.tanh())
    assert net.classifier == "last"


def test_the_logits_are_those_of_the_module_itself():
    net = network().eval()
    alone = deepcopy(net.inner)
    for keep in (frozenset(), ALL):
        assert torch.equal(net(batch(), keep=keep).logits, alone(batch()))


def test_inputs_and_squares_are_kept_on_request_also_of_a_relu_in_place():
    net = network().eval()
    out = net(batch(), keep=ALL)
    before = net.inner.norm(net.inner.conv(batch()))
    torch.testing.assert_close(out.inputs[0], before)
    assert out.inputs[0].min() < 0
    for a, square in zip(out.activations, out.squares, strict=True):
        torch.testing.assert_close(square, a.square().sum())
    sum(out.squares).backward()
    assert net.inner.conv.weight.grad.abs().sum() > 0


def test_names_are_those_in_the_module():
    net = network()
    assert [n for n, _ in net.named_parameters()] == [n for n, _ in net.inner.named_parameters()]
    assert dict(net.named_buffers()).keys() == dict(net.inner.named_buffers()).keys()
    assert net.get_submodule("norm") is net.inner.norm


def test_dropout_follows_from_the_seed_and_moves_no_other_draw():
    net = network().train()
    before = torch.get_rng_state()
    first = net(batch(), seed=7)
    torch.rand(3)
    torch.set_rng_state(before)
    assert torch.equal(net(batch(), seed=7).logits, first.logits)
    assert not torch.equal(net(batch(), seed=8).logits, first.logits)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_value_per_channel_is_normed_by_the_running_statistics():
    norm = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(32), nn.Linear(32, CLASSES))
    net = network(norm).train()
    net.inner[1].running_mean.fill_(0.5)
    x = batch(1)
    expected = net.inner[2]((x.flatten(1) - 0.5) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(net(x).logits, expected)
    assert (net.inner[1].running_mean == 0.5).all()


def test_untracked_passes_put_all_buffers_back():
    net = network().train()
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with untracked(net):
        net(batch())
    assert all(torch.equal(b, before[name]) for name, b in net.named_buffers())
    net(batch())
    assert not torch.equal(net.inner.norm.running_mean, before["norm.running_mean"])


def test_integer_buffers_begin_anew_with_each_load():
    net = Net(network())
    net.module.train()
    net(batch())
    assert net.module.inner.norm.num_batches_tracked == 1
    net.load(net.weights.clone())
    assert net.module.inner.norm.num_batches_tracked == 0


def test_shared_tensors_are_one_place_of_the_flat_vectors():
    class Tied(Plain):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(6, 6, bias=False)
            self.again = nn.Linear(6, CLASSES)
            self.hidden2 = nn.Linear(6, 6, bias=False)
            self.hidden2.weight = self.last.weight
            self.twin = nn.BatchNorm2d(4)
            self.twin.running_mean = self.norm.running_mean

        def forward(self, x):
            return self.again(self.hidden2(super().forward(x)))

    net = Net(network(Tied()))
    assert sum(entry.name in ("last.weight", "hidden2.weight") for entry in net.layout) == 1
    net.load(net.weights.clone().fill_(2.0), net.buffers.clone().fill_(3.0))
    inner = net.module.inner
    assert (inner.hidden2.weight == 2).all() and (inner.last.weight == 2).all()
    assert (inner.twin.running_mean == 3).all() and (inner.norm.running_mean == 3).all()


def test_constants_that_are_not_saved_are_no_part_of_the_model():
    class Positions(Plain):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.linspace(0, 1, 4), persistent=False)

        def forward(self, x):
            return super().forward(x + self.table)

    net = Net(network(Positions()))
    assert "table" not in {entry.name for entry in net.layout}
    assert "norm.running_mean" in {entry.name for entry in net.layout}


def returning(function, of=Plain):
    class Other(of):
        def forward(self, x):
            return function(super().forward(x))

    return Other()


class Replacing(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count = self.count + 1
        return super().forward(x)


@pytest.mark.parametrize(
    "module, message",
    [
        (returning(lambda z: (z, z)), "expected a network that returns one tensor of logits"),
        (returning(lambda z: z.softmax(-1)), "expected logits; got probabilities"),
        (Plain(classes=4), r"expected logits \[B, 3\], one for each class of the data; got \[2, 4"),
        (nn.Linear(5, 3), r"expected a network that takes images of 2x4x4 .*; got RuntimeError"),
        (Replacing(), "expected buffers that a forward pass changes in place .* got count"),
    ],
)
def test_what_is_no_classifier_of_such_images_is_refused_in_one_line(module, message):
    with pytest.raises(BadInput, match=message):
        network(module)


def test_logits_that_no_linear_layer_makes_leave_no_features():
    convolution = nn.Sequential(nn.Conv2d(2, CLASSES, 4), nn.Flatten())
    net = network(convolution)
    assert not net.has_features and net.hidden_layers.count == 0
    assert net(batch()).features.shape == (5, 0)


def test_a_network_of_mpifls_own_kind_stays_as_it_is():
    own = Mlp().build(SHAPE, CLASSES)
    assert adapted(own, SHAPE, CLASSES) is own


def needs(package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def made(name, shape=SHAPE, **options):
    torch.manual_seed(0)
    allow({"model": options})
    return MODELS[name](**options).build(shape, CLASSES)


@pytest.mark.parametrize("factory", ["Plain", "plain_of", "made_of_all"])
def test_a_factory_is_called_with_what_it_takes(factory):
    options = {"bias": False} if factory == "made_of_all" else {}
    net = made("module", factory=f"{__name__}:{factory}", options=options)
    assert isinstance(net, Adapted) and net.classes == CLASSES


def plain_of(channels, classes):
    assert channels == 2
    return Plain(classes)


def made_of_all(*, bias, **known):
    assert known == {"classes": CLASSES, "channels": 2, "size": (4, 4)}
    return nn.Sequential(nn.Flatten(), nn.Linear(32, CLASSES, bias))


def wrong(classes):
    return "no module"


def failing(size):
    return nn.Linear(size * size, CLASSES)


@pytest.mark.parametrize(
    "factory, message",
    [
        ("", 'expected "module:function", such as "mine:build"; got \'\''),
        ("no_such_module:build", "expected a module that Python can import; got 'no_such_module'"),
        (f"{__name__}:nothing", "expected a function or class in .*; got 'nothing'"),
        (f"{__name__}:wrong", "to return an nn.Module; got 'no module'"),
        (f"{__name__}:failing", r"got TypeError: can't multiply .* \(test_adapted.py, line \d+\)"),
    ],
)
def test_what_is_no_factory_is_refused_in_one_line(factory, message):
    with pytest.raises(BadInput, match=message):
        made("module", factory=factory)


def test_torchvisions_networks_are_made_by_name_with_their_options():
    needs("torchvision")
    net = made("torchvision", (1, 32, 32), arch="resnet18", options={"width_per_group": 64})
    assert net.classifier == "fc" and net.hidden_layers.count == 17
    grey = batch(2, (1, 32, 32))
    net.eval()
    with torch.no_grad():
        assert torch.equal(net(grey).logits, net.inner(grey.expand(-1, 3, -1, -1)))


def test_timms_networks_are_made_by_name_with_their_options():
    needs("timm")
    tiny = {"depth": 1, "embed_dim": 12, "num_heads": 2, "patch_size": 4}
    net = made("timm", (2, 16, 16), options=tiny)
    assert net.classifier == "head" and net.hidden_layers.count == 1
    assert net(batch(2, (2, 16, 16))).features.shape == (2, 12)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("torchvision", {"arch": "resnet81"}, "model.arch: expected a classifier of torchvision"),
        ("torchvision", {"options": {"width": 2}}, "model.options: expected options of resnet18"),
        ("torchvision", {"options": {"num_classes": 2}}, "that do not follow from the data"),
        ("timm", {"arch": "vit_tine_patch16_224"}, "did you mean vit_tiny_patch16_224"),
        ("timm", {"options": {"depht": 2}}, "model.options: expected options of vit_tiny"),
    ],
)
def test_other_libraries_names_and_options_are_checked(name, options, message):
    needs(name)
    with pytest.raises(BadInput, match=message):
        made(name, (3, 32, 32), **options)


def test_draws_of_two_threads_at_once_are_those_of_each_alone():
    cpu = torch.device("cpu")
    with drawing_from(1, cpu):
        alone = torch.cat([torch.rand(1), torch.rand(1)])
    is_inside, is_over = Event(), Event()

    def other() -> None:
        with drawing_from(2, cpu):
            is_inside.set()
            is_over.wait(60)

    thread = Thread(target=other)
    with drawing_from(1, cpu):
        first = torch.rand(1)
        thread.start()
        is_inside.wait(0.05)  # where it can be there beside this one, it is
        second = torch.rand(1)
    is_over.set()
    thread.join()
    assert torch.cat([first, second]).equal(alone)
