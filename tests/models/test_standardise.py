"""Weight standardisation: rows of mean 0 and norm 1 in each pass; what is stored is not changed."""

import pytest
import torch

from mpifl.curvature import Curvature, Objective
from mpifl.models import MODELS
from mpifl.models.layers import Conv, Linear, norm
from mpifl.models.standardise import standardised
from mpifl.options import BadInput
from tests import tiny

W = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (W, [-0.670820, -0.223607, 0.223607, 0.670820]),
        (7.5 * W - 3, [-0.670820, -0.223607, 0.223607, 0.670820]),
        (1e-3 * W, [-0.15, -0.05, 0.05, 0.15]),
        (0 * W, [0.0, 0.0, 0.0, 0.0]),
    ],
    ids=["plain", "scaled and shifted", "below the smallest variance", "zero"],
)
def test_a_row_has_mean_0_and_norm_1_unless_it_is_tiny(row, expected):
    got = standardised(row.view(1, 1, 2, 2)).flatten()
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_a_rows_gradient_is_orthogonal_to_the_row_and_sums_to_0():
    weight = images(5, 3, 2, 2).double().requires_grad_()
    slope = images(5, 3, 2, 2).double() ** 2
    (gradient,) = torch.autograd.grad((standardised(weight) * slope).sum(), weight)
    rows = gradient.flatten(1)
    assert rows.abs().max() > 0.01
    torch.testing.assert_close(rows.sum(1), torch.zeros(5).double(), atol=1e-12, rtol=0)
    along = (rows * weight.flatten(1)).sum(1)
    torch.testing.assert_close(along, torch.zeros(5).double(), atol=1e-12, rtol=0)


def layers_that_are_standardised(net):
    return {
        name
        for name, part in net.named_modules()
        if isinstance(part, (Conv, Linear)) and part.standardised
    }


@pytest.mark.parametrize("name", ["lenet", "fedln_cnn", "mlp", "resnet20", "vit"])
def test_the_network_is_that_without_norms_at_the_standardised_weights(name):
    tiny_vit = {"dim": 8, "depth": 2, "heads": 2} if name == "vit" else {}
    size = (1, 16, 16)
    net = MODELS[name](norm="weight", norm_affine=False, **tiny_vit).build(size, 5).eval()
    plain = MODELS[name](norm="none", **tiny_vit).build(size, 5).eval()
    plain.load_state_dict(net.state_dict())
    chosen = layers_that_are_standardised(net)
    assert chosen and not any("head" in layer for layer in chosen)
    with torch.no_grad():
        x = images(3, *size)
        assert not torch.allclose(net(x).logits, plain(x).logits)
        for layer in chosen:
            weight = plain.get_submodule(layer).weight
            weight.copy_(standardised(weight))
        assert torch.equal(net(x).logits, plain(x).logits)


def test_what_is_standardised_is_what_another_norm_would_norm():
    net = MODELS["cnn"](norm="weight").build((3, 32, 32), 10)
    assert layers_that_are_standardised(net) == {"convolutions.0.layer", "convolutions.1.layer"}
    net = MODELS["vit"](norm="weight", depth=1).build((3, 32, 32), 10)
    assert layers_that_are_standardised(net) == {"encoders.0.attention.qkv", "encoders.0.up"}


def test_a_narrow_pass_standardises_the_weights_that_it_uses():
    conv = Conv(16, 24, 3)
    norm("weight", 24, conv)
    x = images(2, 8, 5, 5)
    narrow = Conv(8, 16, 3)
    with torch.no_grad():
        narrow.weight.copy_(standardised(conv.weight[:16, :8]))
        narrow.bias.copy_(conv.bias[:16])
    torch.testing.assert_close(conv(x, 16), narrow(x))


@pytest.mark.parametrize("layer", [None, torch.nn.Conv2d(3, 8, 3)])
def test_a_norm_of_weights_needs_a_layer_that_can_standardise_them(layer):
    with pytest.raises(BadInput, match=r"model\.norm: expected for weight a network that says"):
        norm("weight", 8, layer)


MLP = {"name": "mlp", "hidden": [6], "norm": "weight"}


def test_weights_train_unstandardised_and_low_rank_changes_are_standardised_with_them():
    net = tiny.experiment({"model": {**MLP, "lora": {"rank": 2}}}).clients.net
    plain = tiny.experiment({"model": MLP}).clients.net
    x, _ = tiny.batch(dtype=torch.float32)
    assert torch.equal(net(x).logits, plain(x).logits)
    net.load(net.weights + 0.1)
    layer = net.module.dense[0].layer
    changed = standardised(layer.weight)
    assert not torch.allclose(layer.weight, changed)
    assert not torch.allclose(standardised(plain.module.dense[0].layer.weight), changed)
    torch.testing.assert_close(layer(x.flatten(1)), x.flatten(1) @ changed.T + layer.bias)


def test_the_hessian_along_a_row_is_minus_the_gradient_of_that_row():
    """Which holds for every function that a row's scale does not change."""
    net = tiny.net("mlp", hidden=(6,), norm="weight")
    objective = Objective(net, [tiny.batch()])
    first = net.layout[0]
    assert first.name == "dense.0.layer.weight"
    row = slice(first.offset, first.offset + first.shape[1])
    direction = torch.zeros_like(net.weights)
    direction[row] = net.weights[row]
    expected = torch.zeros_like(net.weights)
    expected[row] = -objective.gradient(net.weights)[1][row]
    assert expected.abs().max() > 1e-3
    (product,) = Curvature(objective, net.weights).block(direction[None])
    torch.testing.assert_close(product, expected, atol=1e-9, rtol=0)
