import numpy as np
import pytest
import torch
from torch import nn

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.step import ClientRound
from mpifl.models import MODELS
from mpifl.net import Net
from mpifl.options import options
from mpifl.schedules import SCHEDULES, Cosine, Exponential, Milestones
from mpifl.training.local import Local
from mpifl.training.trainer import Trainer

SHAPE, CLASSES = (3, 16, 16), 5


def make(model="cnn", dtype=torch.float32, **options):
    torch.manual_seed(0)
    return Net(MODELS[model](**options).build(SHAPE, CLASSES).to(dtype))


def batches(n=6, size=8, dtype=torch.float32):
    g = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, *SHAPE, generator=g, dtype=dtype),
            torch.randint(CLASSES, (size,), generator=g),
        )
        for _ in range(n)
    ]


def context(w):
    return ClientRound(1, 0, 1, CLASSES, np.zeros(0, dtype=np.int64), (w, w[:0]))


def trained(net, some, local, w=None, **terms):
    w = net.weights.clone() if w is None else w
    return Trainer(net, CrossEntropy(), local)(some, context(w), local.lr, w, **terms)


CASES = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "weight decay": {"weight_decay": 1e-2},
    "all": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-2, "clip": 0.5},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("model", "dtype", "bound"), [("cnn", torch.float32, 2e-6), ("resnet20", torch.float64, 1e-10)]
)
def test_equals_torch_sgd_on_the_same_batches_to_rounding(model, dtype, bound, case):
    options, some = CASES[case], batches(4, dtype=dtype)
    ours = trained(make(model, dtype), some, Local(lr=0.05, **options))
    module = make(model, dtype).module.train()
    sgd = {k: v for k, v in options.items() if k != "clip"}
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05, **sgd)
    for x, y in some:
        optimiser.zero_grad(set_to_none=False)
        nn.functional.cross_entropy(module(x).logits, y).backward()
        if "clip" in options:
            norm = torch.cat([p.grad.reshape(-1) for p in module.parameters()]).norm()
            for p in module.parameters():
                p.grad.mul_(min(1.0, options["clip"] / norm))
        optimiser.step()
    theirs = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    assert (ours.y - theirs).abs().max() < bound * theirs.abs().max()
    assert ours.steps == len(some)


def test_a_zero_linear_term_and_a_zero_pull_change_no_bit():
    some, local = batches(), Local(lr=0.05, momentum=0.9)
    plain = trained(make(), some, local).y
    net = make()
    assert torch.equal(
        plain, trained(net, some, local, linear=torch.zeros_like(net.weights), pull=0.0).y
    )


def test_first_step_with_a_pull_is_the_plain_one_bit_for_bit():
    some, local = batches(1), Local(lr=0.05)
    assert torch.equal(trained(make(), some, local).y, trained(make(), some, local, pull=3.0).y)


@pytest.mark.parametrize("clip_pull", [True, False])
def test_a_pull_stands_before_the_clip_or_its_half_after_it(clip_pull):
    some, net, pull = batches(2, dtype=torch.float64), make(dtype=torch.float64), 5.0
    w, local = net.weights.clone(), Local(lr=0.1, clip=0.3, clip_pull=clip_pull)
    got = trained(net, some, local, w, pull=pull).y
    y = w
    for x, label in some:
        net.load(y)
        g = net.take_gradient(nn.functional.cross_entropy(net(x).logits, label)).clone()
        y = y - 0.1 * (
            clipped(g + pull * (y - w)) if clip_pull else clipped(g - pull * w) + pull * y
        )
    assert (got - y).abs().max() < 1e-12


def test_where_nothing_is_clipped_the_pulls_place_changes_no_bit():
    some = batches(3)
    before, after = (
        trained(make(), some, Local(lr=0.1, clip_pull=flag), pull=2.0).y for flag in (True, False)
    )
    assert torch.equal(before, after)


def clipped(g, limit=0.3):
    return g * min(1.0, limit / float(g.norm()))


def test_a_strong_pull_keeps_weights_near_and_a_linear_term_moves_them():
    net, some = make(), batches(10)
    w = net.weights.clone()
    free = trained(net, some, Local(lr=0.05), w).y
    held = trained(net, some, Local(lr=0.05), w, pull=10.0).y
    pushed = trained(net, some, Local(lr=0.05), w, linear=torch.ones_like(w)).y
    assert (held - w).norm() < 0.5 * (free - w).norm()
    assert (pushed - free).mean() < -0.4


@pytest.mark.parametrize(
    ("options", "pull", "expected"),
    [
        ({}, 0.0, 7.0),
        ({"momentum": 0.9}, 0.0, (7 - 0.9 * (1 - 0.9**7) / 0.1) / 0.1),
        (
            {"momentum": 0.9, "nesterov": True},
            0.0,
            sum((1 - 0.9 ** (k + 1)) / 0.1 for k in range(1, 8)),
        ),
        ({}, 2.0, (1 - (1 - 0.05 * 2.0) ** 7) / (0.05 * 2.0)),
    ],
)
def test_accumulated_is_fednovas_closed_form(options, pull, expected):
    net = make()
    got = trained(net, batches(7), Local(lr=0.05, **options), pull=pull).accumulated
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("pull", "expected"), [(0.0, 2.439), (0.1, 2.40489)])
def test_three_steps_carry_as_much_of_earlier_momentum_as_in_an_independent_program(pull, expected):
    net, local = make(dtype=torch.float64), Local(lr=0.1, momentum=0.9)
    w = net.weights.clone()
    some = batches(3, dtype=torch.float64)
    trainer = Trainer(net, Nothing(), local)
    got = trainer(some, context(w), 0.1, w, momentum=torch.ones_like(w), pull=pull)
    torch.testing.assert_close(got.carried, torch.full_like(w, expected), rtol=1e-12, atol=0)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("pull", [0.0, 2.0])
def test_what_earlier_momentum_put_into_the_way_is_what_is_left_of_it_where_there_are_no_gradients(
    nesterov, pull
):
    """The way is linear in gradients and momentum: here of 0 x cross-entropy, so of the momentum
    alone.
    """
    net, local = make(dtype=torch.float64), Local(lr=0.05, momentum=0.9, nesterov=nesterov)
    w = net.weights.clone()
    momentum = torch.linspace(-1, 1, len(w), dtype=torch.float64)
    some, lr = batches(7, dtype=torch.float64), 0.05
    got = Trainer(net, Nothing(), local)(some, context(w), lr, w, momentum=momentum, pull=pull)
    assert (got.carried - (w - got.y) / lr).abs().max() < 1e-12
    assert trained(make(), batches(2), local).carried is None


@options
class Nothing(CrossEntropy):
    """A loss without a gradient."""

    def __call__(self, step):
        return 0 * super().__call__(step)


def test_the_reply_is_no_view_of_the_net():
    net = make()
    got = trained(net, batches(2), Local(lr=0.05)).y
    before = got.clone()
    net.weights.zero_()
    assert torch.equal(got, before)


@pytest.mark.parametrize("size", [1e10, 1e25, 1e35])
def test_a_clipped_step_has_the_norm_of_the_clip_also_where_squares_overflow(size):
    net = make()
    some, local = batches(1), Local(lr=1.0, clip=0.5)
    w = net.weights.clone()
    g = torch.randn(len(w), generator=torch.Generator().manual_seed(2)).clamp(-1, 1) * size
    y = trained(net, some, local, w=w, linear=g).y
    assert float((w - y).double().norm()) == pytest.approx(0.5, rel=1e-4)


def test_rates_follow_their_formulas():
    assert [Exponential(decay=0.5)(r, 9) for r in (1, 2, 3)] == [1.0, 0.5, 0.25]
    assert [round(Milestones()(r, 4), 6) for r in (1, 2, 3, 4)] == [1.0, 1.0, 0.1, 0.01]
    assert Cosine()(1, 10) == 1.0
    assert all(0 <= kind()(r, 10) <= 1 for kind in SCHEDULES.values() for r in range(1, 11))


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_milestone_at_a_share_of_100_rounds_begins_with_the_next_round(percent):
    halved = Milestones(at=(percent / 100,), factor=0.5)
    assert [halved(r, 100) for r in (percent, percent + 1)] == [1.0, 0.5]


def test_a_cosine_is_torchs_and_would_be_at_its_floor_after_the_last_round():
    module = nn.Linear(1, 1)
    sgd = torch.optim.SGD(module.parameters(), lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=10, eta_min=0.1)
    for r in range(1, 12):
        assert Cosine(floor=0.1)(r, 10) == pytest.approx(theirs.get_last_lr()[0])
        sgd.step()
        theirs.step()


@pytest.mark.parametrize("rounds", [1, 2, 50])
@pytest.mark.parametrize("warmup", [1, 2, 50])
def test_a_cosine_without_a_floor_is_above_zero_in_every_round(rounds, warmup):
    assert all(Cosine(warmup=warmup)(r, rounds) > 0 for r in range(1, rounds + 1))
