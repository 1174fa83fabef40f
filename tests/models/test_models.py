"""What every model promises, for each name in the table and each norm."""

from copy import deepcopy
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from mpifl.models import MODELS, OWN
from mpifl.net import Net
from mpifl.options import BadInput

SMALL = {"tiny_cnn": (3, 8, 8), "resnet18": (3, 8, 8), "resnet56": (3, 4, 4), "resnet20": (3, 4, 4)}
NORMS = ["batch", "group", "layer", "scale", "l2", "shift", "weight", "none"]
LARGE = ("resnet18", "resnet56")
"""ResNet-18 has ten times the weights of the others, ResNet-56 three times the layers of
ResNet-20
"""
ALL = [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in OWN]
names = pytest.mark.parametrize("name", ALL)


def shape(name):
    return SMALL.get(name, (1, 8, 8))


def build(name, size=None, classes=5, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODELS[name](**options).build(size or shape(name), classes)


def batch(*size, seed=1):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "name, options, size, classes, parameters",
    [
        ("cnn", {}, (3, 32, 32), 100, 815_332),
        ("tiny_cnn", {}, (3, 64, 64), 200, 2_447_688),
        ("fedln_cnn", {}, (3, 32, 32), 10, 797_248),
        ("fedln_cnn", {"bias": True}, (3, 32, 32), 10, 797_962),
        ("fedln_cnn", {"norm": "scale"}, (3, 32, 32), 10, 797_248),
        ("pfl_cnn", {}, (3, 32, 32), 10, 1_626_442),
        ("lenet", {}, (1, 32, 32), 10, 61_706),
        ("mlp", {}, (1, 8, 8), 10, 4_810),
        ("resnet56", {}, (3, 32, 32), 100, 614_452),
        ("resnet56", {"projection": 256}, (3, 32, 32), 100, 746_036),
        ("resnet18", {"stem": "imagenet"}, (3, 224, 224), 1000, 11_689_512),
    ],
)
def test_parameters_are_as_many_as_published(name, options, size, classes, parameters):
    assert sum(p.numel() for p in build(name, size, classes, **options).parameters()) == parameters


FEATURE_NORMS = [True, "l2", "shift", "layer"]
NORM_PAIRS = [(norm, False) for norm in NORMS] + [("group", norm) for norm in FEATURE_NORMS]
"""each norm, and each norm of the features: all models have these in one place (head.py)"""


@names
@pytest.mark.parametrize(("norm", "feature_norm"), NORM_PAIRS)
def test_a_step_on_two_samples_is_finite(name, norm, feature_norm):
    assert_a_step_is_finite(name, norm, feature_norm)


@pytest.mark.parametrize(("norm", "feature_norm"), list(product(NORMS, FEATURE_NORMS)))
def test_any_two_norms_go_together(norm, feature_norm):
    assert_a_step_is_finite("lenet", norm, feature_norm)


def assert_a_step_is_finite(name, norm, feature_norm):
    net = build(name, norm=norm, feature_norm=feature_norm)
    out = net(batch(2, *shape(name)))
    F.cross_entropy(out.logits, torch.tensor([0, 3])).backward()
    assert out.logits.shape == (2, 5) and out.features.shape[0] == 2
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    if feature_norm in (True, "l2", "layer"):
        size = 1.0 if feature_norm == "l2" else out.features.shape[1] ** 0.5
        torch.testing.assert_close(out.features.norm(dim=1), torch.full((2,), size))
    if feature_norm in ("shift", "layer"):
        torch.testing.assert_close(out.features.mean(1), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in ALL if name != "vit"])
@pytest.mark.parametrize("norm", NORMS)
def test_norms_can_stand_on_either_side_of_the_activation(name, norm):
    for after in (False, True):
        out = build(name, norm=norm, norm_after_activation=after)(batch(2, *shape(name)))
        assert out.logits.isfinite().all()
        assert all(a.min() >= 0 for a in out.activations), "activations are the ReLUs' own outputs"


@names
@pytest.mark.parametrize("norm", NORMS)
def test_a_last_batch_of_one_sample_trains(name, norm):
    assert build(name, norm=norm)(batch(1, *shape(name))).logits.isfinite().all()


@names
@pytest.mark.parametrize("norm", NORMS)
def test_an_evaluated_sample_does_not_depend_on_its_companions(name, norm):
    net = build(name, norm=norm).eval()
    x, other = batch(4, *shape(name)), batch(4, *shape(name), seed=2)
    other[0] = x[0]
    torch.testing.assert_close(net(x).logits[0], net(other).logits[0], atol=1e-6, rtol=1e-5)


@names
def test_a_pass_draws_nothing_from_torchs_generator_and_repeats_itself(name):
    net, x = build(name), batch(2, *shape(name))
    before = torch.get_rng_state()
    first = net(x)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.logits, net(x).logits)


@names
def test_the_generators_state_alone_decides_the_initial_weights(name):
    for a, b in zip(build(name).parameters(), build(name).parameters(), strict=True):
        assert torch.equal(a, b)


@names
def test_activations_and_stages_are_kept_only_while_gradients_are_on(name):
    net, x = build(name), batch(2, *shape(name))
    kept = net(x)
    with torch.no_grad():
        bare = net(x)
    assert kept.activations and bare.activations == () == bare.stages
    assert torch.equal(kept.logits, bare.logits)


@pytest.mark.slow
@names
@pytest.mark.parametrize("norm", NORMS)
def test_curvature_can_be_taken_in_evaluation_mode(name, norm):
    net = build(name, norm=norm).eval()
    loss = F.cross_entropy(net(batch(2, *shape(name))).logits, torch.tensor([0, 3]))
    weights = list(net.parameters())
    gradient = torch.autograd.grad(loss, weights, create_graph=True)
    slope = sum((g * g.detach().sign()).sum() for g in gradient)
    product = torch.autograd.grad(slope, weights, materialize_grads=True)
    assert all(p.isfinite().all() for p in product) and any(p.any() for p in product)


@names
def test_weights_and_buffers_may_be_views_of_flat_vectors(name):
    plain, x = build(name), batch(3, *shape(name))
    net = Net(deepcopy(plain))
    assert torch.equal(plain(x).logits, net(x).logits)
    assert torch.equal(
        torch.cat([torch.zeros(0), *(b.flatten() for b in plain.buffers())]), net.buffers
    )


@names
def test_parameters_are_not_shared_and_buffers_are_floats(name):
    net = build(name)
    assert len({p.data_ptr() for p in net.parameters()}) == len(list(net.parameters()))
    assert all(b.is_floating_point() for b in net.buffers())


@names
def test_logits_are_the_same_in_either_memory_format(name):
    net, x = build(name, (3, 8, 8)).eval(), batch(2, 3, 8, 8)
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(last).logits, net(x).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "name, options, size, minimum",
    [
        ("cnn", {}, (1, 3, 8), "4x4"),
        ("fedln_cnn", {}, (1, 8, 3), "4x4"),
        ("lenet", {}, (1, 3, 3), "4x4"),
        ("pfl_cnn", {}, (3, 1, 1), "2x2"),
        ("tiny_cnn", {}, (3, 7, 7), "8x8"),
        ("resnet20", {}, (3, 2, 2), "4x4"),
        ("resnet56", {}, (3, 3, 32), "4x4"),
        ("resnet18", {}, (3, 7, 7), "8x8"),
        ("resnet18", {"stem": "imagenet"}, (3, 28, 28), "32x32"),
        ("vit", {"patch": 8}, (3, 4, 4), "8x8"),
    ],
)
def test_too_small_an_image_is_refused_by_name_with_the_least_size(name, options, size, minimum):
    shape = "x".join(map(str, size))
    with pytest.raises(
        BadInput, match=f"{name} expected images of at least {minimum} pixels; got {shape}"
    ):
        build(name, size, **options)


@names
def test_capabilities_name_what_the_output_has(name):
    options = MODELS[name]()
    out = build(name)(batch(2, *shape(name)))
    assert ("activations" in options.capabilities) == bool(out.activations)
    assert ("stages" in options.capabilities) == bool(out.stages)
    assert options.name == name and isinstance(options.channels_last, bool)


@pytest.mark.parametrize(
    "name", ["cnn", "fedln_cnn", "lenet", "pfl_cnn", "resnet18", "resnet20", "tiny_cnn"]
)
def test_with_a_projection_head_the_features_are_the_projection(name):
    assert "projection" not in MODELS[name]().capabilities
    assert "projection" in MODELS[name](projection=7).capabilities
    net, x = build(name, projection=7), batch(2, *shape(name))
    out = net(x)
    assert out.features.shape == (2, 7)
    assert torch.equal(net.head.classifier(out.features), out.logits)
    assert len(out.activations) == len(build(name)(x).activations) + 1
