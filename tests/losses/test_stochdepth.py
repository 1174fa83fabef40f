"""Stochastic depth: survival, expectation, what a dropped block leaves alone, and the evaluation's
gates.
"""

import numpy as np
import pytest
import tiny
import torch

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.stochdepth import StochDepth
from mpifl.models.output import Recorder
from mpifl.parallel.communicator import Communicator
from mpifl.training.evaluate import evaluate, score
from mpifl.training.rounds import run


def wrapped(keep):
    return StochDepth(loss=CrossEntropy(), keep=keep)


def gates_of(net, loss, numbers):
    """The gates of the training passes at steps of these numbers."""
    seen = []
    net.module.register_forward_pre_hook(
        lambda module, x, options: seen.append(options.get("gates")), with_kwargs=True
    )
    for number in numbers:
        loss(tiny.step(net, n=1, number=number))
    return seen


def test_survival_falls_from_one_to_keep():
    survival = wrapped(0.9).survival(18)
    assert [round(rho, 4) for rho in survival[[0, 1, 16, 17]]] == [1.0, 0.9941, 0.9059, 0.9]
    assert np.ptp(np.diff(survival)) < 1e-15
    assert wrapped(0.5).survival(1).tolist() == [1.0]


def test_on_the_papers_ramp_the_first_block_falls_too():
    survival = StochDepth(loss=CrossEntropy(), keep=0.9, ramp="paper").survival(18)
    assert [round(rho, 4) for rho in survival[[0, 1, 16, 17]]] == [0.9944, 0.9889, 0.9056, 0.9]
    assert (StochDepth(loss=CrossEntropy(), keep=1.0, ramp="paper").survival(3) == 1).all()


def test_every_step_draws_whole_blocks_with_these_probabilities():
    net, survival = tiny.net("resnet20"), wrapped(0.3).survival(6)
    drawn = np.array(
        [tiny.step(net, n=1, number=i).random("stochdepth").random(6) for i in range(300)]
    )
    assert np.array_equal(
        gates_of(net, wrapped(0.3), range(5)), (drawn[:5] < survival).astype(float)
    )
    share = (drawn < survival).mean(0)
    assert share[0] == 1.0
    assert (abs(share - survival) <= 4 * np.sqrt(survival * (1 - survival) / 300)).all()


def test_the_expected_output_of_a_block_in_training_is_its_output_in_evaluation():
    net, rho = tiny.net("resnet20", norm="none"), 0.7
    net.weights.mul_(0.01)
    block = net.module.stages[0][1]
    # so large that the ReLU behind the sum is the identity
    x = 1 + torch.rand(2, 64, 4, 4, dtype=torch.float64)
    on, off, scaled = (block(x, None, gate, Recorder()) for gate in (1.0, 0.0, rho))
    assert off.min() > 0
    assert not torch.equal(on, off)
    torch.testing.assert_close(rho * on + (1 - rho) * off, scaled, rtol=1e-13, atol=0)


def test_a_dropped_block_gets_no_gradient_and_keeps_its_statistics():
    net, loss, number = tiny.net("resnet20", norm="batch"), wrapped(0.1), 0
    while (gates := gates_of(tiny.net("resnet20"), loss, [number])[0]).count(0.0) < 2:
        number += 1
    branches = tuple(f"stages.{i // 2}.{i % 2}.units." for i, gate in enumerate(gates) if gate == 0)
    before = net.buffers.clone()
    gradient = tiny.taken(net, loss, tiny.step(net, number=number)).gradient
    for name, g in tiny.slices(net, gradient).items():
        assert g.any() != name.startswith(branches), name
    for name, moved in tiny.slices(net, net.buffers != before, "buffer").items():
        assert moved.any() != name.startswith(branches), name


def test_keep_one_passes_no_gates():
    assert gates_of(tiny.net("resnet20"), wrapped(1.0), [0]) == [None]
    assert wrapped(1.0).evaluated(tiny.net("resnet20").module) == {}


@pytest.mark.parametrize(
    "text", ["stochdepth(ce, keep=0.4)", "mixup(stochdepth(ce, keep=0.4) + man)"]
)
def test_a_run_is_evaluated_with_the_survival_gates(text):
    x = tiny.experiment({"model": {"name": "resnet20"}, "local": {"loss": text}})
    progress = run(x, Communicator())
    net = x.clients.net
    net.load(progress.w, progress.buffers)
    gates = {"gates": wrapped(0.4).survival(6).tolist()}
    gated, plain = (
        score(evaluate(net, x.test, 500, forward=forward), 12) for forward in (gates, {})
    )
    assert progress.score == gated
    assert gated.loss != plain.loss
