"""MAN in closed form: gradient, terms, options, and its bound on the Hessian."""

import pytest
import tiny
import torch
from torch.autograd.functional import hessian
from torch.nn import functional

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.man import Man
from mpifl.models.layers import Conv, Linear
from mpifl.models.output import KEEPABLE
from mpifl.options import BadInput

WEIGHT_LAYERS = {"mlp": 3, "lenet": 5, "cnn": 5, "pfl_cnn": 4, "tiny_cnn": 6, "fedln_cnn": 5}
OPTIONS = {"mlp": {"hidden": (9, 7)}}


@pytest.mark.parametrize("zeta", [0.15, 2.0])
def test_the_gradient_of_an_active_linear_layer_is_closed(zeta):
    """a = X W', so R = zeta/(2 B m) ||X W'||^2 and dR/dW = zeta/(B m) W X'X."""
    net = tiny.net("mlp", hidden=(5,))
    weight = net.module.dense[0].layer.weight
    with torch.no_grad():
        weight.abs_()
        net.module.dense[0].layer.bias.zero_()
    x, y = tiny.batch()
    x.abs_()
    got = tiny.taken(net, Man(zeta=zeta), tiny.step(net, images=(x, y)))
    X, W = x.flatten(1), weight.detach()
    assert got.value.item() == pytest.approx(zeta / 2 * (X @ W.T).square().mean().item(), rel=1e-13)
    gradient = tiny.slices(net, got.gradient)["dense.0.layer.weight"]
    torch.testing.assert_close(gradient, zeta / (len(X) * len(W)) * W @ X.T @ X, rtol=1e-12, atol=0)


@pytest.mark.parametrize("model", WEIGHT_LAYERS)
def test_a_plain_network_of_some_weight_layers_has_one_term_less(model):
    net = tiny.net(model, shape=(3, 16, 16), **OPTIONS.get(model, {}))
    layers = sum(isinstance(part, Conv | Linear) for part in net.module.modules())
    step = tiny.step(net, images=tiny.batch(3, shape=(3, 16, 16)))
    assert layers == WEIGHT_LAYERS[model]
    assert len(step.out.activations) == layers - 1
    expected = 0.15 / 2 * sum(a.square().mean() for a in step.out.activations)
    torch.testing.assert_close(Man()(step), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("model", "options", "terms"),
    [("resnet20", {}, 1 + 3 * 6), ("resnet18", {}, 1 + 2 * 8), ("vit", {"depth": 3, "dim": 8}, 3)],
)
def test_residual_and_attention_networks_have_a_term_for_every_nonlinearity(model, options, terms):
    net = tiny.net(model, **options)
    step = tiny.step(net, n=2)
    got = tiny.taken(net, Man(), step)
    assert len(step.out.activations) == terms
    assert got.value.item() == pytest.approx(
        0.075 * sum(a.square().mean().item() for a in step.out.activations), rel=1e-12
    )
    # nothing is penalised behind these
    behind = ("head", "norm.norm", f"encoders.{terms - 1}.down")
    for name, g in tiny.slices(net, got.gradient).items():
        assert g.any() != name.startswith(behind), name


def test_the_mean_over_half_batches_is_that_of_the_whole():
    net, (x, y) = tiny.net(), tiny.batch(6)
    whole, *halves = (
        Man()(tiny.step(net, images=part)) for part in ((x, y), (x[:3], y[:3]), (x[3:], y[3:]))
    )
    torch.testing.assert_close(sum(halves) / 2, whole, rtol=1e-12, atol=0)


def test_it_bounds_the_last_layers_hessian_and_its_trace_is_closed():
    """For CE, lambda_max <= E||a||^2 / 2 = R of the one hidden layer at zeta 1; trace = E[(1 -
    ||p||^2) ||a||^2].
    """
    net = tiny.net("mlp", hidden=(3,))
    step = tiny.step(net, n=8)
    bound = Man(zeta=1.0, reduction="sample")(step).item()

    a, p = step.out.features.detach(), step.out.logits.detach().softmax(-1)
    weight, bias = (parameter.detach() for parameter in net.module.head.classifier.parameters())
    H = hessian(lambda V: functional.cross_entropy(a @ V.T + bias, step.y), weight).reshape(
        weight.numel(), -1
    )
    trace = ((1 - p.square().sum(1)) * a.square().sum(1)).mean()
    largest = torch.linalg.eigvalsh(H)[-1].item()
    torch.testing.assert_close(H.trace(), trace, rtol=1e-10, atol=0)
    assert 0.1 * bound < largest <= bound


def mean_square(a):
    return a.square().mean()


CASES = {
    "power 1": (
        {"power": 1},
        lambda out: sum((mean_square(a) + 1e-12).sqrt() for a in out.activations),
    ),
    "a sample": (
        {"reduction": "sample"},
        lambda out: sum(a.square().sum() / len(a) for a in out.activations),
    ),
    "sum": ({"reduction": "sum"}, lambda out: sum(a.square().sum() for a in out.activations)),
    "power 1 of the sum": (
        {"power": 1, "reduction": "sum"},
        lambda out: sum((a.square().sum() + 1e-12).sqrt() for a in out.activations),
    ),
    "mean across": (
        {"across": "mean"},
        lambda out: sum(map(mean_square, out.activations)) / len(out.activations),
    ),
    "logits": (
        {"layers": "hidden and logits"},
        lambda out: sum(map(mean_square, (*out.activations, out.logits))),
    ),
    "some": (
        {"layers": (0, 3)},
        lambda out: mean_square(out.activations[0]) + mean_square(out.activations[3]),
    ),
    "before": ({"site": "pre"}, lambda out: sum(map(mean_square, out.inputs))),
    "before pooling, pooled": (
        {"site": "pre", "pooled": True, "layers": (0,), "reduction": "sum"},
        lambda out: functional.max_pool2d(out.inputs[0], 2).square().sum(),
    ),
    "pooled": (
        {"pooled": True},
        lambda out: sum(
            mean_square(functional.max_pool2d(a, 2) if a.dim() == 4 else a) for a in out.activations
        ),
    ),
}


@pytest.mark.parametrize("model", ["cnn", "tiny_cnn"])
@pytest.mark.parametrize("case", CASES)
def test_each_option_computes_its_formula(case, model):
    options, formula = CASES[case]
    step = tiny.step(tiny.net(model))
    torch.testing.assert_close(
        Man(zeta=0.4, **options)(step), 0.2 * formula(step.out), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(("model", "blocks", "stages"), [("resnet20", 6, 3), ("resnet18", 8, 4)])
@pytest.mark.parametrize("projection", [0, 4])
def test_layers_blocks_and_stages_choose_the_last_layer_of_each(model, blocks, stages, projection):
    net = tiny.net(model, projection=projection)
    ends = []
    for block in (block for stage in net.module.stages for block in stage):
        block.register_forward_hook(lambda module, arguments, output: ends.append(output.detach()))
    step = tiny.step(net, n=2)
    *_, last = outputs = step.out.stages[1:]
    assert (len(ends), len(outputs)) == (blocks, stages)
    for layers, expected in (("blocks", ends), ("stages", outputs)):
        got = Man(zeta=2.0, layers=layers)(step)
        torch.testing.assert_close(got, sum(map(mean_square, expected)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("model", ["cnn", "tiny_cnn", "resnet20", "vit"])
@pytest.mark.parametrize("options", [{}, {"norm": "group", "norm_after_activation": True}])
def test_site_pre_takes_the_inputs_of_nonlinearities(model, options):
    if model == "vit":
        options = {"depth": 2, "dim": 8, "heads": 2}
    out = tiny.step(tiny.net(model, **options), n=2).out
    function = functional.gelu if model == "vit" else torch.relu
    assert len(out.inputs) == len(out.activations)
    for x, a in zip(out.inputs, out.activations, strict=True):
        assert torch.equal(function(x), a)
    assert any((x < 0).any() for x in out.inputs)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("model", ["cnn", "resnet20", "vit"])
def test_its_gradient_is_that_of_the_squares_written_out(model, memory):
    """The forward pass squares and differentiates in its own way."""
    net, x = (
        tiny.net(model, **({"depth": 2, "dim": 8, "heads": 2} if model == "vit" else {})),
        tiny.batch(3),
    )
    net.memory_format = memory

    def beside_cross_entropy(term):
        return tiny.taken(
            net, lambda step: CrossEntropy()(step) + term(step), tiny.step(net, images=x)
        )

    got = beside_cross_entropy(Man(zeta=3.0))
    expected = beside_cross_entropy(lambda step: 1.5 * sum(map(mean_square, step.out.activations)))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_chosen_layers_of_a_pass_that_skips_blocks_are_those_that_it_meets():
    net = tiny.net("resnet20")  # its second block has the layers 4, 5 and, at its end, 6
    step = tiny.step(net, n=2).derived(forward={"keep": KEEPABLE, "gates": [1, 0, 1, 1, 1, 1]})
    out, man = step.out, Man(zeta=2.0, layers=(0, 5, 6))
    assert out.layer_numbers == (0, 1, 2, 3, *range(6, 19))
    torch.testing.assert_close(
        man(step), mean_square(out.activations[0]) + mean_square(out.activations[4])
    )
    assert Man(layers=(5,))(step) == 0


def test_two_terms_are_the_released_sam_code_for_tiny_imagenet():
    """There the third convolution alone is taken after pooling."""
    step = tiny.step(tiny.net("tiny_cnn"))
    one, two, three, four, five = step.out.activations
    expected = sum(map(mean_square, (one, two, functional.max_pool2d(three, 2), four, five)))
    got = tiny.loss("man(zeta=2.0, layers=(0, 1, 3, 4)) + man(zeta=2.0, layers=(2,), pooled=true)")(
        step
    )
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("schedule", "factor"), [("exponential(decay=0.5)", 0.5), ("cosine(floor=1.0, warmup=8)", 0.25)]
)
def test_its_strength_follows_a_schedule(schedule, factor):
    step = tiny.step(tiny.net("cnn"), rounds=10)
    assert step.context.round == 2
    got = tiny.loss(f"man(schedule={schedule})")(step)
    torch.testing.assert_close(got, factor * Man()(step), rtol=1e-12, atol=0)


def test_bfloat16_rounds_the_strength_of_a_schedule_no_more_than_a_constant_one():
    values = []
    for text in ("man(zeta=0.3, schedule=exponential(decay=0.5))", "man(zeta=0.15)"):
        net = tiny.net("cnn", dtype=torch.float32)
        step = tiny.step(net, rounds=10)
        with torch.autocast("cpu", torch.bfloat16):
            values.append(tiny.loss(text)(step))
    assert values[0].dtype is values[1].dtype is torch.bfloat16
    assert torch.equal(*values)


def test_at_schedule_zero_the_loss_is_zero():
    step = tiny.step(tiny.net("cnn"), rounds=2)
    assert not tiny.loss("man(schedule=milestones(at=[0.1, 0.2], factor=1e-200))")(
        step
    ).requires_grad


MISFITS = {
    "man(layers=(0, 4))": (
        "cnn",
        {},
        "man.layers: expected numbers from 0 to 3, the model's hidden layers; got 4",
    ),
    "mixup(ce + man(layers=(19,)))": ("resnet20", {}, "expected numbers from 0 to 18"),
    "man": (
        "mlp",
        {"hidden": ()},
        "man: expected a model with hidden layers; got one that has none",
    ),
}


@pytest.mark.parametrize("text", MISFITS)
def test_layers_that_the_network_lacks_are_refused(text):
    model, options, expected = MISFITS[text]
    with pytest.raises(BadInput, match=expected):
        tiny.experiment({"model": {"name": model, **options}, "local": {"loss": f"ce + {text}"}})


def test_a_network_without_hidden_layers_has_its_logits():
    step = tiny.step(tiny.net("mlp", hidden=()))
    man = Man(zeta=2.0, layers="hidden and logits", across="mean")
    man.check(step.net.module)
    torch.testing.assert_close(man(step), mean_square(step.out.logits))


@pytest.mark.parametrize(
    "options", [{"layers": ()}, {"layers": (-1,)}, {"layers": "conv"}, {"site": "after"}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(BadInput):
        Man(**options)


@pytest.mark.parametrize("options", [{"layers": (0,)}, {"site": "pre"}, {"pooled": True}])
def test_the_released_tiny_code_chooses_its_layers_itself(options):
    with pytest.raises(BadInput, match="tiny_paper_bug alone"):
        Man(tiny_paper_bug=True, **options)


def test_the_released_tiny_code_swaps_the_third_convolution_for_a_variance():
    step = tiny.step(tiny.net("tiny_cnn"))
    one, two, _, four, five = step.out.activations
    expected = sum(map(mean_square, (one, two, four, five))) + five.var(0).mean()
    torch.testing.assert_close(
        Man(zeta=2.0, tiny_paper_bug=True)(step), expected, rtol=1e-12, atol=0
    )


def test_the_released_tiny_code_stands_a_batch_of_one():
    assert Man(tiny_paper_bug=True)(tiny.step(tiny.net("tiny_cnn"), n=1)).isfinite()


@pytest.mark.parametrize("power", [1, 2])
def test_activations_of_zero_give_no_nan(power):
    net = tiny.net("mlp", hidden=(4,))
    with torch.no_grad():
        net.module.dense[0].layer.bias.fill_(-1e3)
    got = tiny.taken(net, Man(power=power), tiny.step(net))
    assert got.value < 1e-6
    assert not got.gradient.any()
