"""Which weights train: the flat vectors hold only these, and the others never change."""

import pytest
import torch

from mpifl.curvature import Curvature, Objective
from mpifl.models import MODELS
from mpifl.models.adapted import adapted
from mpifl.models.frozen import freeze
from mpifl.models.lora import LowRank
from mpifl.net import Net
from mpifl.options import BadInput
from tests import tiny
from tests.tiny import digests

VIT = {"name": "vit", "depth": 1, "dim": 8, "heads": 2}
CNN = {"name": "cnn", "norm": "batch"}


def net(**model) -> Net:
    return tiny.experiment({"model": model}).clients.net


def names(of: Net, kind: str = "parameter") -> list[str]:
    return [entry.name for entry in of.layout if entry.kind == kind]


def test_the_flat_vector_holds_only_the_head():
    of = net(name="cnn", trainable="head")
    assert names(of) == ["head.classifier.weight", "head.classifier.bias"]
    assert len(of.weights) + len(of.frozen) == len(net(name="cnn").weights) == of.parameters


def test_frozen_weights_are_drawn_as_all_weights_are():
    whole = net(**CNN).tensors()
    for name, tensor in net(**CNN, trainable=["dense"]).tensors().items():
        assert torch.equal(tensor, whole[name])


def test_a_norm_whose_scale_is_frozen_keeps_its_statistics_and_uses_them():
    of = net(**CNN, trainable=["convolutions.1", "head"])
    assert names(of, "buffer") == [
        "convolutions.1.norm.running_mean",
        "convolutions.1.norm.running_var",
    ]
    of.module.train()
    assert not of.module.convolutions[0].norm.training
    assert of.module.convolutions[1].norm.training
    before = of.frozen.clone()
    x, _ = tiny.batch(dtype=torch.float32)
    of(x)
    assert torch.equal(of.frozen, before) and of.buffers.any()


@pytest.mark.parametrize(
    "model", [{**CNN, "trainable": "head"}, {**VIT, "lora": {"rank": 2}}], ids=["head", "lora"]
)
def test_training_moves_nothing_that_is_frozen(model):
    x = tiny.experiment({"model": model, "local": {"momentum": 0.9}})
    of = x.clients.net
    weights, frozen = of.weights.clone(), of.frozen.clone()
    tiny.run(x, tiny.alone())
    assert torch.equal(of.frozen, frozen) and not torch.equal(of.weights, weights)


def test_loras_flat_vector_holds_only_loras_weights_and_the_head_if_asked():
    of = net(**VIT, lora={"rank": 2})
    assert {name.rpartition(".")[2] for name in names(of)} == {"A", "B"}
    layers = [module for module in of.module.modules() if isinstance(module, LowRank)]
    assert len(layers) == 4  # qkv, out, up, down
    assert len(of.weights) == sum(layer.A.numel() + layer.B.numel() for layer in layers)
    headed = net(**VIT, lora={"rank": 2, "head": True})
    assert names(headed) == [*names(of), "head.classifier.weight", "head.classifier.bias"]
    fixed = net(**VIT, lora={"rank": 2, "freeze_a": True, "layers": ["*.qkv"]})
    assert names(fixed) == ["encoders.0.attention.qkv.parametrizations.weight.0.B"]


def test_at_first_lora_gives_the_logits_of_the_network_without_bit_for_bit():
    x, _ = tiny.batch(dtype=torch.float32)
    plain, changed = net(**VIT), net(**VIT, lora={"rank": 2})
    assert torch.equal(plain(x).logits, changed(x).logits)
    changed.load(changed.weights + 0.1)
    assert not torch.equal(plain(x).logits, changed(x).logits)


def test_lora_adds_alpha_over_rank_times_b_a():
    of = net(**VIT, lora={"rank": 2, "alpha": 6.0, "layers": ["*.down"]})
    layer = of.module.encoders[0].down
    change = layer.parametrizations.weight[0]
    torch.nn.init.constant_(change.B, 0.5)
    original = layer.parametrizations.weight.original
    torch.testing.assert_close(layer.weight, original + 3 * change.B @ change.A)
    assert change.A.abs().max() <= layer.in_features**-0.5


def test_a_mean_of_clients_is_exact_only_with_a_frozen_a():
    a, b = torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0])
    assert (a * b).mean() == 1 and a.mean() * b.mean() == 0
    frozen = torch.tensor([2.0, 2.0])
    assert (frozen * b).mean() == frozen.mean() * b.mean()


def test_lora_reaches_the_projections_inside_torchs_attention():
    class Attending(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = torch.nn.Linear(8, tiny.CLASSES)

        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2).flatten(2)[..., :1].expand(-1, -1, 8)
            return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))

    torch.manual_seed(0)
    network = adapted(Attending(), tiny.SHAPE, tiny.CLASSES)
    x, y = tiny.batch(dtype=torch.float32)
    before = network(x).logits
    model = MODELS["mlp"](lora={"rank": 2})
    model.lora.apply(network)
    freeze(network, model)
    of = Net(network)
    assert torch.equal(of(x).logits, before)
    torch.nn.init.ones_(network.inner.attention.parametrizations.in_proj_weight[0].B)
    gradient = of.take_gradient(torch.nn.functional.cross_entropy(of(x).logits, y))
    inner = network.inner.attention.parametrizations.in_proj_weight[0]
    outer = network.inner.attention.out_proj.parametrizations.weight[0]
    assert len(of.weights) == sum(p.numel() for part in (inner, outer) for p in part.parameters())
    assert inner.A.grad.any() and inner.B.grad.any() and outer.B.grad.any()
    assert not outer.A.grad.any()  # its B is 0
    assert gradient.isfinite().all()


def test_hessians_are_those_of_the_weights_that_train():
    of = net(**VIT, lora={"rank": 1, "layers": ["*.out"]})
    module = of.module.double()
    of = Net(module)
    images, labels = tiny.batch()
    objective = Objective(of, [(images, labels)])
    operator = Curvature(objective, of.weights + 0.1)
    dense = operator.block(torch.eye(len(of.weights), dtype=torch.float64))
    step, w = 1e-5, of.weights + 0.1
    for column in (0, len(w) - 1):
        away = torch.zeros_like(w)
        away[column] = step
        slope = (objective.gradient(w + away)[1] - objective.gradient(w - away)[1]) / (2 * step)
        torch.testing.assert_close(dense[column], slope, atol=1e-7, rtol=1e-4)


def test_a_twin_has_the_frozen_weights_too():
    of = net(**CNN, trainable="head")
    x, _ = tiny.batch(dtype=torch.float32)
    of.module.eval()
    twin = of.twin("sent", (of.weights.clone(), of.buffers.clone()))
    assert torch.equal(twin(x).logits, of(x).logits)
    assert not any(p.requires_grad for p in twin.module.parameters())


@pytest.mark.parametrize(
    "local",
    [
        {"loss": "ce + man", "gradient": "sam"},
        {"optimizer": "adamw", "momentum": 0.0, "loss": "ce + prox(mu=0.1)"},
    ],
)
@pytest.mark.parametrize("algorithm", ["fedavg", "feddyn"])
def test_methods_train_what_lora_leaves(local, algorithm):
    raw = {"model": {**VIT, "lora": {"rank": 1}}, "local": local, "algorithm": algorithm}
    assert len(digests(raw)) == 2


@pytest.mark.parametrize(
    "model, message",
    [
        ({"trainable": ["nope.*"]}, r"model.trainable: expected names, or patterns .* got 'nope"),
        ({"trainable": []}, "model.trainable: expected"),
        ({"lora": {"rank": 1}, "trainable": "head"}, "model.trainable: expected all with model.lo"),
        ({"lora": {"rank": 1, "layers": ["x"]}}, "model.lora.layers: expected names, or patterns"),
        ({"name": "mlp", "hidden": [], "lora": {"rank": 1}}, "model.lora"),
    ],
)
def test_what_fits_no_weights_is_refused_in_one_line(model, message):
    with pytest.raises(BadInput, match=message):
        net(**{"name": "cnn", **model})
