"""Steps that are replayed end in the bits of steps that are made anew, or are not replayed."""

import copy
import math
import weakref
from dataclasses import field

import numpy as np
import pytest
import tiny
import torch
from click.testing import CliRunner
from matrix import FACTORS, HEADED, MODELS_OF, RESIDUAL
from torch.utils._python_dispatch import TorchDispatchMode

import mpifl
from mpifl.algorithms.oracles import Scaled
from mpifl.cli import main
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse
from mpifl.losses.loss import Loss
from mpifl.losses.step import ClientRound
from mpifl.options import options
from mpifl.parallel.devices import configure
from mpifl.runner.schema import resolve
from mpifl.training import steps
from mpifl.training.gradients import Gradient, Oracle, Plain
from mpifl.training.local import Local
from mpifl.training.replay import Differs, recorded
from mpifl.training.trainer import Trainer

NOT_REPLAYED = {
    "ce + gradaug": "its shapes are drawn",
    "stochdepth(ce, keep=0.5)": "which blocks there are is drawn",
    "mixup(stochdepth(fedlc + man, keep=0.5) + gradaug(n=1)) + moon": "the same",
    "mixup(rs) + ntd + decorr + uv": "uv counts the features that differ",
}
MORE_LOSSES = (
    "rs",
    "rs(by='share')",
    "mixup(fedlc)",
    "mixup(mixup(ce))",
    "ce + ntd",
    "ce + ntd(leave_out='frequent') + moon",
)
REPLAYED = {*FACTORS["loss"], *MORE_LOSSES} - set(NOT_REPLAYED)

SHAPE = (3, 8, 8)

EVERY_LOSS = [
    pytest.param(text, marks=pytest.mark.slow) if "gradaug" in text else text
    for text in FACTORS["loss"]
]
"""GradAug takes several passes through a residual network"""

TERMS = {
    "nothing": {},
    "linear": {"linear": True},
    "pull": {"pull": 0.3},
    "part": {"moving": True},
    "everything": {"linear": True, "pull": 0.3, "moving": True},
}


def tiny_loss(text: str) -> Loss:
    return parse(text, LOSSES)


def net_for(loss: str, model: str = "", norm: dict | None = None, device="cpu"):
    able = [models for word, models in MODELS_OF.items() if word in loss]
    name = model or ("resnet20" if RESIDUAL in able else "lenet")
    extra = {"projection": 4} if "moon" in loss and name in HEADED else {}
    options = {**extra, **(norm or {})}
    return tiny.net(name, SHAPE, dtype=torch.float32, device=device, **options)


def nothing() -> None:
    pass


def trained(
    net,
    loss,
    local,
    graphs,
    linear=False,
    moving=False,
    pull=0.0,
    gradient=None,
    before_client=nothing,
):
    """The weights, buffers and figures after six batches of two clients, every other one short."""
    w, buffers = net.weights.clone(), net.buffers.clone()
    sent = (w, buffers)
    random = torch.Generator().manual_seed(3)
    trainer = Trainer(net, loss, local, graphs)
    results = []
    for client in range(2):
        before_client()
        net.buffers.copy_(buffers)
        context = ClientRound(
            1,
            client,
            2 + client,
            tiny.CLASSES,
            np.arange(tiny.CLASSES),
            sent,
            (w + 0.01, buffers),
            rounds=10,
            vectors={"average": w + 0.02},
        )
        some = [
            tiny.batch(size, SHAPE, torch.float32, seed=10 * client + number)
            for number, size in enumerate((4, 3, 4, 3, 4, 3))
        ]
        some = [(x.to(net.device), y.to(net.device)) for x, y in some]
        start = w + 0.01 * torch.randn(len(w), generator=random).to(net.device)
        terms = {"pull": pull, "gradient": None if gradient is None else gradient()}
        if linear:
            terms["linear"] = 0.01 * torch.randn(len(w), generator=random).to(net.device)
        if moving:
            terms["moving"] = (torch.rand(len(w), generator=random) < 0.5).to(net.device)
        got = trainer(some, context, 0.01, start, **terms)
        results += [got.y, net.buffers.clone(), torch.tensor([got.loss, got.accuracy])]
    assert not net.weights.requires_grad
    net.load(*sent)
    return results, len(trainer._replays)


def check(net, loss, local, **terms):
    eager, none = trained(net, loss, local, "no", **terms)
    replayed, recordings = trained(net, loss, local, "yes", **terms)
    assert none == 0
    for one, other in zip(eager, replayed, strict=True):
        assert torch.equal(one, other)
    return recordings


@pytest.mark.parametrize("loss", [*EVERY_LOSS, *MORE_LOSSES])
def test_every_loss_has_the_same_bits_replayed(loss):
    recordings = check(net_for(loss), tiny_loss(loss), Local(lr=0.01, momentum=0.9))
    assert recordings == (2 if loss in REPLAYED else 0)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", FACTORS["gradient"])
@pytest.mark.parametrize("terms", TERMS)
def test_every_gradient_has_the_same_bits_replayed_with_every_term(gradient, terms):
    local = resolve({"local": {"gradient": gradient, "clip": 0.5, "weight_decay": 0.01}}).local
    assert check(net_for("ce"), tiny_loss("ce + man"), local, **TERMS[terms]) == 2


class Counting(Oracle):
    """A gradient of yours that depends on how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, minibatch, w):
        self.asked += 1
        return minibatch(w) * self.asked


class CountingScaled(Scaled):
    """The same, of a class that mpifl has."""

    def __init__(self) -> None:
        super().__init__(Plain(), 0.5)
        self.asked = 0

    def __call__(self, minibatch, w):
        self.asked += 1
        return super().__call__(minibatch, w) * self.asked


@options
class Tables(Gradient):
    """A gradient of yours with an option that has no hash."""

    factors: dict[str, float] = field(default_factory=dict)

    def __call__(self, minibatch, w):
        return minibatch(w) * self.factors.get("all", 1.0)


@pytest.mark.parametrize(
    "gradient",
    [Counting, CountingScaled, Tables, lambda: Scaled(Tables(factors={"all": 0.5}), 0.5)],
    ids=["oracle", "subclass", "gradient", "within one of mpifl's"],
)
def test_a_gradient_of_yours_for_a_round_is_not_replayed(gradient):
    assert check(net_for("ce"), tiny_loss("ce"), Local(lr=0.01), gradient=gradient) == 0


def test_a_chosen_gradient_of_yours_is_not_replayed():
    local = Local(lr=0.01, gradient=Tables(factors={"all": 0.5}))
    assert check(net_for("ce"), tiny_loss("ce"), local) == 0


@pytest.mark.parametrize(("graphs", "replayed", "share"), [("yes", [0, 4], 50), ("no", [0, 0], 0)])
def test_a_run_stores_and_shows_how_many_of_its_steps_were_replayed(
    tmp_path, graphs, replayed, share
):
    config = {**tiny.RUN, "model": {"name": "lenet"}, "runtime": {"graphs": graphs}}
    run = mpifl.run(config, out=tmp_path / "run", quiet=True)
    assert run.rounds["steps_taken"].tolist() == [4, 4]  # a long and a short batch of two clients
    assert run.rounds["steps_replayed"].tolist() == replayed
    shown = CliRunner().invoke(main, ["show", str(run.path)]).output
    assert f"8 in all, {share} % of them replayed" in shown


@pytest.mark.parametrize("clip_pull", [True, False])
def test_a_pull_after_the_clip_has_the_same_bits_replayed(clip_pull):
    local = Local(clip=0.1, clip_pull=clip_pull)
    assert check(net_for("ce"), tiny_loss("ce"), local, pull=0.3) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "resnet20" else name
        for name in FACTORS["model"]
    ],
)
@pytest.mark.parametrize("norm", FACTORS["norm"])
def test_every_norm_of_every_family_has_the_same_bits_replayed(norm, model):
    extra = {"vit": {"dim": 8, "depth": 2, "heads": 2}, "mlp": {"hidden": [8]}}.get(model, {})
    net = net_for("ce", model, FACTORS["norm"][norm] | extra)
    configure(torch.device("cpu"), 1)  # else attention's fused kernel might draw
    assert check(net, tiny_loss("ce"), Local(lr=0.01)) == 2


@options
class Yours(Loss):
    """A loss that does not come with mpifl."""

    def __call__(self, step):
        return step.out.logits.square().mean()


def test_a_loss_of_yours_is_not_replayed():
    assert check(net_for("ce"), Yours(), Local()) == 0


def test_a_network_with_a_hook_of_yours_is_not_replayed():
    net = net_for("ce")
    net.module.register_forward_hook(lambda module, given, out: None)
    assert check(net, tiny_loss("ce"), Local()) == 0


def test_kinds_of_steps_beyond_the_most_recordings_are_made_anew_in_the_same_bits(monkeypatch):
    monkeypatch.setattr(steps, "_MOST_RECORDINGS", 1)
    assert check(net_for("ce"), tiny_loss("ce"), Local()) == 1


def test_kinds_of_steps_that_never_come_again_are_forgotten(monkeypatch):
    monkeypatch.setattr(steps, "_MOST_SEEN", 10)
    net = net_for("ce")
    replays = Trainer(net, tiny_loss("ce"), Local(), "yes")._replays
    for pull in range(25):
        replays.learn(pull, tiny.step(net), make=None, inputs=[])
    assert len(replays) == 0
    assert len(replays._seen) <= 10


def test_kinds_of_steps_that_cannot_be_recorded_are_remembered_up_to_the_most(monkeypatch):
    monkeypatch.setattr(steps, "_MOST_RECORDINGS", 5)
    net = net_for("ce")
    replays = Trainer(net, tiny_loss("ce"), Local(), "yes")._replays

    def differs():
        raise Differs("of every kind")

    for pull in range(20):
        for _ in range(2):
            replays.learn(pull, tiny.step(net), make=lambda: differs, inputs=[])
    assert len(replays._never) == 5


W = torch.ones(3)


def test_an_input_that_stays_where_it_is_is_not_recorded_as_the_static_tensor():
    with pytest.raises(Differs):
        recorded(lambda x: (x.view(-1) * 2,), [W], [W])


def test_inputs_that_were_one_tensor_when_recorded_may_be_two_later():
    repeat = recorded(lambda a, b: (a - b,), [W, W], [])
    [difference] = repeat(torch.full((3,), 5.0), torch.ones(3))
    assert difference.tolist() == [4.0, 4.0, 4.0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * float(x.sum()),),
        lambda x: (x[x > 0],),
        lambda x: (x + torch.rand(3),),
        lambda x: (x if x.sum() > 0 else -x,),
    ],
    ids=["a value in Python", "a size by values", "random numbers", "a branch"],
)
def test_calls_that_may_differ_next_time_are_not_recorded(function):
    with pytest.raises(Differs):
        recorded(function, [torch.ones(3)], [W])


class Calls(TorchDispatchMode):
    """The names of the calls that torch is asked for."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_what_is_transposed_twice_and_views_that_nothing_reads_are_not_made_again():
    def function(x):
        x.view(-1)
        return (x.t().t() * 2,)

    repeat = recorded(function, [torch.ones(2, 3)], [])
    threes = torch.full((2, 3), 3.0)
    with Calls() as calls:
        [doubled] = repeat(threes)
    assert calls.names == ["aten.mul.Tensor"]
    assert doubled.tolist() == [[6.0] * 3] * 2


def test_a_recorded_function_repeats_its_calls_on_other_inputs_and_on_static_tensors():
    static = torch.zeros(2, 2)

    def function(x):
        static.view(-1)[:2].add_(x)
        parts = (x * torch.tensor([1.0, math.inf])).split(1)
        return torch.cat([parts[1], parts[0].detach()]), static.t().sum(0)

    repeat = recorded(function, [torch.tensor([1.0, 2.0])], [static])
    static.zero_()
    first, second = repeat(torch.tensor([3.0, 4.0]))
    assert first.tolist() == [math.inf, 3.0]
    assert second.tolist() == [7.0, 0.0]
    assert not first.requires_grad


def test_a_constant_that_the_function_changes_begins_anew_in_each_call():
    def function(x):
        constant = x.new_tensor([1.0, 2.0])
        constant.add_(x)
        return (constant,)

    replayed = recorded(function, [torch.zeros(2)], [])
    for value in (5.0, 7.0):
        [got] = replayed(torch.full((2,), value))
        assert got.tolist() == [1 + value, 2 + value]


def test_a_function_that_copies_memory_is_not_recorded():
    with pytest.raises(Differs, match="copies a tensor's memory"):
        recorded(lambda x: (copy.deepcopy(x),), [torch.zeros(2)], [])


def test_what_a_function_drops_is_freed_while_it_is_recorded():
    still_there = []

    def function(x):
        first = x + 1
        dropped = weakref.ref(first)
        second = first * 2
        del first
        still_there.append(dropped() is not None)
        return (second,)

    recorded(function, [torch.zeros(2)], [])
    assert still_there == [False]
