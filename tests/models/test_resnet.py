"""Residual networks: layout, sub-network passes, gates, and torchvision's ResNet-18."""

import pytest
import torch

from mpifl.models import MODELS
from mpifl.models.layers import untracked
from mpifl.vision import torchvision

NORMS = ["batch", "group", "layer", "weight", "none"]


def build(name="resnet20", size=(3, 8, 8), classes=5, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODELS[name](**options).build(size, classes)


def batch(*size, seed=1):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def buffers(net):
    return {name: b.clone() for name, b in net.named_buffers()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_resnet56_has_fedaligns_stages_and_a_relu_in_every_place():
    out = build("resnet56", (3, 32, 32), 100)(batch(2, 3, 32, 32))
    assert [tuple(s.shape[1:]) for s in out.stages] == [
        (16, 32, 32),
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
    ]
    assert len(out.activations) == 1 + 3 * 18
    assert out.features.shape == (2, 256)


@pytest.mark.parametrize(
    "stem, size, stages",
    [
        ("cifar", 32, [(64, 32), (64, 32), (128, 16), (256, 8), (512, 4)]),
        ("imagenet", 64, [(64, 16), (64, 16), (128, 8), (256, 4), (512, 2)]),
    ],
)
def test_resnet18_stages_begin_behind_the_stems_pooling(stem, size, stages):
    out = build("resnet18", (3, size, size), stem=stem)(batch(1, 3, size, size))
    assert [(s.shape[1], s.shape[2]) for s in out.stages] == stages
    assert out.activations[0].shape[2] == (32 if stem == "imagenet" else size)
    assert len(out.activations) == 1 + 2 * 8


@pytest.mark.parametrize("width", [1.0, 0.25])
def test_a_map_can_be_averaged_in_parts_as_fedln_does_on_larger_images(width):
    net, x = build("resnet18", (3, 64, 64), cells=2, norm="none"), batch(2, 3, 64, 64)
    out = net(x, width=width)
    channels = 512 if width == 1 else 128
    expected = torch.nn.functional.avg_pool2d(out.stages[-1], 4).reshape(2, 4 * channels)
    torch.testing.assert_close(out.features, expected)
    weight, bias = net.head.classifier.weight, net.head.classifier.bias
    assert weight.shape == (5, 2048)
    torch.testing.assert_close(out.logits, expected @ weight[:, : 4 * channels].T + bias)


def test_resnet18_is_torchvisions():
    theirs = torchvision().models.resnet18(num_classes=10)
    ours = build("resnet18", (3, 64, 64), 10, stem="imagenet")
    source = [
        t for name, t in theirs.state_dict().items() if not name.endswith("num_batches_tracked")
    ]
    target = ours.state_dict()
    ours.load_state_dict(dict(zip(target, source, strict=True)))
    x = batch(3, 3, 64, 64)
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(x).logits, theirs.train(mode)(x))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "options", [{}, {"norm_after_activation": True}, {"feature_norm": True, "projection": 16}]
)
def test_full_width_and_open_gates_are_the_plain_pass_bit_for_bit(norm, options):
    x, passes = batch(2, 3, 8, 8), []
    for arguments in ({}, {"width": 1.0}, {"gates": [1.0] * 6}, {"width": 1.0, "gates": [1] * 6}):
        net = build(norm=norm, **options)
        out = net(x, **arguments)
        out.logits.square().sum().backward()
        passes.append((out, [p.grad for p in net.parameters()], buffers(net)))
    (plain, gradient, moved), *others = passes
    for out, g, b in others:
        assert torch.equal(plain.logits, out.logits) and same(moved, b)
        assert all(torch.equal(p, q) for p, q in zip(gradient, g, strict=True))


@pytest.mark.parametrize("name", ["resnet20", pytest.param("resnet18", marks=pytest.mark.slow)])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("width", [0.25, 0.8, 0.99])
def test_a_narrow_pass_trains_a_part_of_each_weight_and_no_running_statistic(name, norm, width):
    net, x = build(name, norm=norm, projection=16), batch(2, 3, 8, 8)
    before = buffers(net)
    out = net(x, width=width)
    out.logits.square().sum().backward()
    assert out.logits.shape == (2, 5) and same(before, buffers(net))
    used = out.stages[-1].shape[1]
    last = net.stages[-1][-1].units[-1].conv.weight.grad
    assert last[:used].any() and not last[used:].any()
    assert used < last.shape[0] or width == 0.99


def test_a_narrow_pass_is_the_network_of_the_first_channels():
    wide, x = build(norm="layer"), batch(2, 3, 8, 8)
    unit = wide.stages[2][0].units[0]
    seen = {}
    unit.conv.register_forward_hook(lambda conv, inputs, y: seen.update(x=inputs[0], y=y))
    wide(x, width=0.5)
    assert seen["x"].shape[1] == 64 and seen["y"].shape[1] == 32
    torch.testing.assert_close(seen["y"], torch.conv2d(seen["x"], unit.conv.weight[:32, :64]))


@pytest.mark.parametrize("norm", NORMS)
def test_the_last_stage_alone_at_full_width_is_the_last_stage(norm):
    net, x = build(norm=norm), batch(4, 3, 8, 8)
    out, before = net(x), buffers(net)
    torch.testing.assert_close(net.last_stage(out.stages[-2], 1.0), out.stages[-1])
    assert same(before, buffers(net))


def test_the_last_stage_at_a_quarter_has_fedaligns_shapes_and_trains_itself_only():
    net, x = build("resnet56", (3, 32, 32), 100), batch(2, 3, 32, 32)
    before = net(x).stages[-2].detach()
    moved = buffers(net)
    y = net.last_stage(before[:, :32], 0.25)
    assert y.shape == (2, 64, 8, 8) and same(moved, buffers(net))
    y.square().sum().backward()
    touched = {name for name, p in net.named_parameters() if p.grad is not None}
    assert touched == {name for name, _ in net.named_parameters() if name.startswith("stages.2.")}
    assert len(touched) == 57


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_closed_gate_skips_the_branch_and_its_statistics_but_not_the_shortcut(norm, block):
    net, x = build(norm=norm), batch(2, 3, 8, 8)
    gates = [1.0] * net.blocks
    gates[block] = 0.0
    before = buffers(net)
    out = net(x, gates=gates)
    out.logits.square().sum().backward()
    skipped = [m for stage in net.stages for m in stage][block]
    assert all(p.grad is None for p in skipped.units.parameters())
    untouched = {name for name, b in net.named_buffers() if torch.equal(b, before[name])}
    assert untouched == {
        n for n, _ in net.named_buffers() if n.startswith(f"stages.{block // 2}.{block % 2}.units.")
    }
    if skipped.shortcut is not None:
        assert skipped.shortcut.conv.weight.grad.any()
    assert len(out.activations) == 1 + 3 * net.blocks - 2


def test_a_closed_gate_leaves_the_stage_before_it_as_it_was():
    net, x = build(norm="none", norm_after_activation=True), batch(2, 3, 8, 8)
    gates = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    out, plain = net(x, gates=gates), net(x)
    assert torch.equal(out.stages[1], plain.stages[1])
    assert torch.equal(out.stages[0], plain.stages[0])


def test_a_gate_scales_the_branch():
    net, x = build("resnet20", norm="none").eval(), batch(2, 3, 8, 8)
    block = net.stages[0][1]
    seen = {}
    block.register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
    block.units[2].conv.register_forward_hook(
        lambda module, inputs, y: seen.update(branch=y.clone())
    )
    out = net(x, gates=[1, 0.9, 1, 1, 1, 1])
    torch.testing.assert_close(out.stages[1], (seen["x"] + 0.9 * seen["branch"]).relu())


@pytest.mark.parametrize("width", [0.0, -0.5, 1.01])
def test_a_width_outside_zero_to_one_is_refused(width):
    with pytest.raises(ValueError, match="width: expected a number in"):
        build()(batch(1, 3, 8, 8), width=width)


def test_gates_must_be_as_many_as_blocks():
    with pytest.raises(ValueError, match="expected one for each of 6 blocks; got 5"):
        build()(batch(1, 3, 8, 8), gates=[1.0] * 5)


def test_an_untracked_training_pass_is_the_tracked_one_without_its_traces():
    net, x = build(), batch(4, 3, 8, 8)
    before = buffers(net)
    with untracked(net):
        logits = net(x).logits
    assert same(before, buffers(net))
    assert torch.equal(net(x).logits, logits)
    assert not same(before, buffers(net))


def test_convolutions_are_drawn_by_hes_rule_over_outputs():
    weight = build("resnet18").stages[3][1].units[0].conv.weight
    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
