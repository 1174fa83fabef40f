"""Plain networks: sites, paddings, and what norms make invariant."""

import pytest
import torch

from mpifl.models import MODELS
from mpifl.models.cnn import LAYERS
from mpifl.models.convnet import side


def build(name, shape, classes=10, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODELS[name](**options).build(shape, classes)


def batch(*size):
    return torch.randn(*size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "name, size, sites",
    [
        ("cnn", (3, 32, 32), [(64, 28, 28), (64, 10, 10), (384,), (192,)]),
        ("fedln_cnn", (3, 32, 32), [(64, 28, 28), (64, 10, 10), (384,), (192,)]),
        ("tiny_cnn", (3, 64, 64), [(64, 64, 64), (64, 32, 32), (64, 16, 16), (512,), (384,)]),
        ("pfl_cnn", (3, 32, 32), [(32, 30, 30), (64, 28, 28), (128,)]),
        ("lenet", (1, 28, 28), [(6, 24, 24), (16, 8, 8), (120,), (84,)]),
        ("mlp", (1, 8, 8), [(64,)]),
    ],
)
def test_activations_are_taken_after_the_relu_and_before_pooling(name, size, sites):
    out = build(name, size)(batch(2, *size))
    assert [tuple(a.shape[1:]) for a in out.activations] == sites


@pytest.mark.parametrize("name", ["cnn", "tiny_cnn", "fedln_cnn"])
@pytest.mark.parametrize("after", [False, True])
def test_nothing_changes_an_activation_after_it_was_taken(name, after):
    net, seen = build(name, (1, 16, 16), norm="group", norm_after_activation=after), []
    for hidden in [*net.convolutions, *net.dense]:
        hidden.norm.register_forward_hook(
            lambda module, inputs, y: seen.append((inputs[0].clone(), y.clone()))
        )
    out = net(batch(2, 1, 16, 16))
    for a, (before, normed) in zip(out.activations, seen, strict=True):
        assert torch.equal(a, before if after else normed.relu())


@pytest.mark.parametrize(
    "pixels, same, left",
    [(32, False, 5), (28, False, 4), (16, False, 1), (8, True, 2), (4, True, 1)],
)
def test_pixels_left_of_a_side(pixels, same, left):
    assert side(pixels, LAYERS, same) == left


@pytest.mark.parametrize("pixels, padding", [(32, 0), (28, 0), (16, 0), (15, 2), (8, 2), (4, 2)])
def test_the_cnn_pads_only_what_would_vanish(pixels, padding):
    net = build("cnn", (1, pixels, pixels))
    assert [hidden.layer.padding for hidden in net.convolutions] == [(padding, padding)] * 2
    assert net(batch(2, 1, pixels, pixels)).logits.shape == (2, 10)


def test_images_need_not_be_square():
    assert build("cnn", (3, 40, 20))(batch(2, 3, 40, 20)).logits.shape == (2, 10)


@pytest.mark.parametrize(
    "norm, feature_norm",
    [("none", True), ("layer", False), ("layer", True), ("scale", False), ("l2", False)],
)
@pytest.mark.parametrize("hidden", range(4))
def test_scaling_a_hidden_layer_of_the_bias_free_cnn_changes_no_logit(norm, feature_norm, hidden):
    net, x = (
        build("fedln_cnn", (3, 32, 32), norm=norm, feature_norm=feature_norm),
        batch(4, 3, 32, 32),
    )
    before = net(x).logits
    with torch.no_grad():
        [*net.convolutions, *net.dense][hidden].layer.weight.mul_(7)
    torch.testing.assert_close(net(x).logits, before, atol=1e-5, rtol=1e-4)


def test_normalising_every_layer_is_normalising_the_last_where_there_are_no_biases():
    """The study's proposition: what scales each layer scales only the last, and shifts too."""
    x = batch(4, 3, 32, 32).double()

    def logits(**options):
        return build("fedln_cnn", (3, 32, 32), **options).double()(x).logits

    fedfn = logits(norm="none", feature_norm=True)
    torch.testing.assert_close(logits(norm="scale"), fedfn, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(logits(norm="l2", feature_norm=True), fedfn, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        logits(norm="layer"), logits(norm="shift", feature_norm=True), rtol=1e-3, atol=1e-3
    )  # but for layer norm's eps


def test_without_norms_scaling_a_hidden_layer_changes_the_logits():
    net, x = build("fedln_cnn", (3, 32, 32), norm="none"), batch(4, 3, 32, 32)
    before = net(x).logits
    with torch.no_grad():
        net.dense[0].layer.weight.mul_(7)
    torch.testing.assert_close(net(x).logits, 7 * before)


def test_layer_normed_features_have_mean_zero():
    features = build("fedln_cnn", (3, 32, 32))(batch(4, 3, 32, 32)).features
    torch.testing.assert_close(features.mean(1), torch.zeros(4), atol=1e-6, rtol=0)
    assert features.min() < 0


def test_the_pfl_cnns_weights_are_drawn_within_glorots_bound():
    net = build("pfl_cnn", (3, 32, 32))
    weight = net.dense[0].layer.weight
    bound = (6 / (weight.shape[0] + weight.shape[1])) ** 0.5
    assert 0.99 * bound < weight.abs().max() <= bound


def test_an_mlp_takes_any_number_of_hidden_layers_also_from_a_list():
    assert MODELS["mlp"](hidden=[32, 16]).hidden == (32, 16)
    out = build("mlp", (1, 8, 8), hidden=(32, 16))(batch(2, 1, 8, 8))
    assert [a.shape[1] for a in out.activations] == [32, 16]
    assert build("mlp", (1, 8, 8), hidden=())(batch(2, 1, 8, 8)).activations == ()
