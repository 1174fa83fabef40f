"""What an algorithm may ask of `train`, send, keep and have tested, on quadratics."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from quadratics import Quadratics, moments

from mpifl.options import options
from mpifl.parallel.communicator import Communicator
from mpifl.training.algorithm import Algorithm
from mpifl.training.callback import Callback
from mpifl.training.evaluate import Evaluation
from mpifl.training.gradients import Oracle, Plain
from mpifl.training.local import Local
from mpifl.training.rounds import run

STEPS = Local(steps=3, batch=100, lr=0.05)
ONE = Quadratics(clients=1)


@options
class Asking(Algorithm):
    """FedAvg that trains in a way of its own."""

    def client(self, sent, own, train):
        return {"w": self.trained(sent["w"], train).y}, own

    def server(self, w, server, mean, of):
        return mean["w"], server

    def trained(self, w, train):
        raise NotImplementedError


def after_one_round(algorithm: Algorithm, local: Local = STEPS) -> torch.Tensor:
    return moments(ONE.experiment(algorithm, local, 1))[0].models[0]


def by_hand(factors, shift=0.0, moving=1.0, start=None) -> torch.Tensor:
    """Gradient descent on client 0's quadratic, at the point moved by `shift`."""
    y = ONE.start if start is None else start
    for factor in factors:
        y = y - 0.05 * factor * moving * ONE.gradient(0, y + shift)
    return y


def test_factors_on_the_rate_give_each_step_its_own():
    class Falling(Asking):
        def trained(self, w, train):
            trained = train(w, factor=lambda step: 1 - step / train.of.steps)
            assert trained.accumulated == pytest.approx(1 + 2 / 3 + 1 / 3)
            return trained

    torch.testing.assert_close(after_one_round(Falling()), by_hand([1, 2 / 3, 1 / 3]))


def test_accumulated_with_factors_momentum_and_pull_is_what_a_constant_gradient_moves():
    class Constant(Oracle):
        def __call__(self, minibatch, w):
            minibatch(w)
            return torch.ones_like(w)

    class Falling(Asking):
        def trained(self, w, train):
            factors = [1.0, 0.5, 0.25]
            trained = train(w, factor=lambda step: factors[step], pull=0.3, gradient=Constant())
            moved = trained.lr * trained.accumulated
            torch.testing.assert_close(w - trained.y, torch.full_like(w, moved))
            return trained

    after_one_round(Falling(), replace(STEPS, momentum=0.9, nesterov=True))


def test_coordinates_that_do_not_move_stay_though_decay_and_momentum_act():
    moving = torch.tensor([True, False, True])

    class First(Asking):
        def trained(self, w, train):
            return train(w, moving=moving)

    local = replace(STEPS, momentum=0.9, weight_decay=0.1)
    assert torch.equal(after_one_round(First(), local)[1], ONE.start[1])
    torch.testing.assert_close(after_one_round(First()), by_hand([1, 1, 1], moving=moving))


def test_only_the_part_that_moves_counts_for_the_norm_that_is_clipped():
    moving = torch.tensor([True, False, False])

    class First(Asking):
        def trained(self, w, train):
            return train(w, moving=moving)

    moved = after_one_round(First(), replace(STEPS, steps=1, clip=1e-3)) - ONE.start
    torch.testing.assert_close(moved.norm().item(), 0.05 * 1e-3)


def test_a_gradient_of_the_round_replaces_the_configs_and_hears_what_was_clipped():
    shift = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    heard = []

    class Shifted(Oracle):
        def __call__(self, minibatch, w):
            return minibatch(w + shift)

        def clipped(self, g):
            heard.append(g.clone())

    class Ahead(Asking):
        def trained(self, w, train):
            assert train.of.gradient == Plain()
            return train(w, gradient=Shifted())

    torch.testing.assert_close(after_one_round(Ahead()), by_hand([1, 1, 1], shift))
    assert len(heard) == 3
    torch.testing.assert_close(heard[0], ONE.gradient(0, ONE.start + shift))


def test_two_calls_of_train_continue_with_other_epochs_and_count_all_steps():
    class Twice(Asking):
        def trained(self, w, train):
            first = train(w, epochs=2)
            return train(first.y)

    x = ONE.experiment(Twice(), STEPS, 1)
    history = moments(x)
    torch.testing.assert_close(history[0].w, by_hand([1] * 5))


def test_the_minibatches_of_a_second_call_are_others_than_those_of_the_first():
    x = Quadratics(clients=1, seed=3).experiment(Asking(), STEPS, 1)
    x.clients.local = replace(STEPS, batch=2, steps=0)
    x.clients.samples.labels.copy_(torch.arange(len(x.clients.samples)))
    orders = []
    for call in (0, 1):
        labels = [y for _, y in x.clients.batches(0, 1, call=call)]
        orders.append(torch.cat(labels).tolist())
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


@options
class Ahead(Asking):
    """Clients start one unit away from the server's weights."""

    has_average = True

    def init_server(self, w):
        return {"last": w}

    def send(self, w, server):
        return {"w": w + 1}

    def trained(self, w, train):
        return train(w)

    def server(self, w, server, mean, of):
        assert (of.round, of.rounds, of.share) == (1, 1, 1.0)
        return mean["w"], {"last": w}

    def average(self, w, server):
        return (w + server["last"]) / 2


class Last(Callback):
    def round_finished(self, progress, last):
        self.progress = progress


def test_clients_start_where_the_algorithm_sends_them_and_the_server_keeps_its_own():
    x = ONE.experiment(Ahead(), STEPS, 1)
    x.clients.means = ("average",)
    x.evaluation = Evaluation(models=("average",))
    heard = Last()
    run(x, Communicator(), [heard])
    end = by_hand([1, 1, 1], start=ONE.start + 1)
    torch.testing.assert_close(heard.progress.w, end)
    torch.testing.assert_close(heard.progress.means["average"], (end + ONE.start) / 2)
    assert set(heard.progress.scores) == {"average"}
    assert heard.progress.figures["bytes_down"] == ONE.start.nbytes


def test_a_clients_own_model_is_what_the_algorithm_says():
    class Half(Asking):
        def trained(self, w, train):
            return train(w)

        def model(self, w, own):
            return w / 2

    [moment] = moments(ONE.experiment(Half(), STEPS, 1))
    torch.testing.assert_close(moment.models[0], moment.w / 2)
