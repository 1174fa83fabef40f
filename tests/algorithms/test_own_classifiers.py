"""FedPer, FedRep and FedBABU: where classifiers are, what moves them, and where they end."""

from __future__ import annotations

import pytest
import tiny
import torch
from quadratics import Quadratics, distance, moments

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedbabu import FedBabu, FrozenPart
from mpifl.algorithms.fedopt import Adam, Sgd
from mpifl.algorithms.fedper import FedPer
from mpifl.algorithms.fedrep import FedRep
from mpifl.algorithms.local_only import LocalOnly
from mpifl.algorithms.own_part import OwnPart
from mpifl.options import BadInput
from mpifl.training.callback import Callback
from mpifl.training.local import Local
from mpifl.training.rounds import run
from mpifl.training.sampling import Participation

HALF = Participation(fraction=0.5)
LOCAL = Local(steps=3, batch=100, lr=0.05)


def coordinates(*chosen):
    mine = torch.zeros(3, dtype=torch.bool)
    mine[list(chosen)] = True
    return mine


def in_turn(*own, own_epochs=0):
    return OwnPart(coordinates(*own), in_turn=True, own_epochs=own_epochs)


@pytest.mark.parametrize("optimizer", [Sgd(), Adam(lr=0.1)])
def test_without_a_classifier_each_is_fedavg_bit_for_bit(optimizer):
    local = Local(steps=3, batch=100, lr=0.05, momentum=0.9, weight_decay=0.01)
    found = []
    for kind in (FedAvg, FedPer, FedRep, FedBabu):
        x = Quadratics().experiment(kind(server_optimizer=optimizer), local, 5, HALF)
        found.append([moment.w.tolist() for moment in moments(x)])
    assert found[0] == found[1] == found[2] == found[3]


def test_with_all_coordinates_own_training_in_turn_is_local_training():
    own, alone = (
        moments(Quadratics().experiment(algorithm, LOCAL, 5, HALF))[-1]
        for algorithm in (in_turn(0, 1, 2), LocalOnly())
    )
    for mine, theirs in zip(own.clients, alone.clients, strict=True):
        assert torch.equal(mine["own"], theirs["w"])


@pytest.mark.slow
def test_fedrep_with_its_own_part_solved_ends_at_the_best_shared_weights():
    """The optimum of sum p_c min_own f_c: Schur complements S_c, sum p_c S_c (w - b_c) = 0.

    One step of the shared part a round; with five the end is another point.
    """
    q = Quadratics()
    shared, own = [0, 2], [1]
    S = []
    for A in q.A:
        between = A[shared][:, own]
        S.append(A[shared][:, shared] - between @ torch.linalg.inv(A[own][:, own]) @ between.T)
    p = q.share("samples")
    left = sum(p[c] * S[c] for c in range(4))
    right = sum(p[c] * S[c] @ q.b[c][shared] for c in range(4))
    best = torch.linalg.solve(left, right)
    ends = []
    for steps in (1, 5):
        x = q.experiment(in_turn(1, own_epochs=20), Local(steps=steps, batch=100, lr=0.4), 70)
        ends.append(moments(x)[-1])
    assert distance(ends[0].w[shared], best) < 1e-9
    assert distance(ends[1].w[shared], best) > 1e-3


def test_in_turn_each_part_moves_with_the_other_where_it_is():
    q = Quadratics()
    start = q.start.clone()
    x = q.experiment(in_turn(1, own_epochs=2), Local(steps=1, batch=100, lr=0.1), 1)
    [end] = moments(x)
    for c in range(4):
        y = start.clone()
        for _ in range(2):
            y[1] -= 0.1 * q.gradient(c, y)[1]
        assert end.clients[c]["own"] == pytest.approx(y[1].item(), rel=1e-14)
        y[[0, 2]] -= 0.1 * q.gradient(c, y)[[0, 2]]
        torch.testing.assert_close(end.models[c], y)


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_fedbabu_moves_the_body_alone_and_solves_for_it(decay):
    q = Quadratics()
    local = Local(steps=1, batch=100, lr=0.1, weight_decay=decay, momentum=0.5)
    history = moments(q.experiment(FrozenPart(coordinates(1)), local, 400))
    assert all(moment.w[1] == q.start[1] for moment in history)
    p = q.share("samples")
    w = history[-1].w
    pull = sum(p[c] * q.gradient(c, w) for c in range(4)) + decay * w
    assert distance(pull[[0, 2]], torch.zeros(2, dtype=torch.float64)) < 1e-9
    assert abs(pull[1]) > 1e-3


class Models(Callback):
    def __init__(self):
        self.weights, self.models = [], []

    def round_finished(self, progress, last):
        self.weights.append(progress.w)
        self.models += [model.weights for model in progress.models]


@pytest.mark.parametrize("name", ["fedper", "fedrep", "fedbabu"])
def test_in_a_network_the_classifier_is_kept_or_frozen_and_the_body_trains(name):
    x = tiny.experiment(
        {"algorithm": name, "participation": {"fraction": 1.0}, "results": {"clients_every": 1}}
    )
    classifier = x.clients.net.coordinates.classifier
    start = x.clients.net.weights.clone()
    heard = Models()
    run(x, tiny.alone(), [heard])
    assert torch.equal(heard.weights[-1][classifier], start[classifier])
    assert not torch.equal(heard.weights[-1][~classifier], start[~classifier])
    kept = {tuple(model[classifier].tolist()) for model in heard.models[-3:]}
    assert len(kept) == (1 if name == "fedbabu" else 3)
    assert x.clients.unsent() == (0 if name == "fedbabu" else int(classifier.sum()))


def test_fedrep_refuses_momentum_of_earlier_rounds():
    local = {"momentum": 0.9, "momentum_state": "persist"}
    with pytest.raises(BadInput, match="expected reset, since momentum of FedRep"):
        tiny.experiment({"algorithm": "fedrep", "local": local})


@pytest.mark.parametrize("name", ["fedper", "fedrep", "fedbabu"])
def test_a_network_whose_classifier_does_not_train_is_refused(name):
    model = {"name": "cnn", "trainable": ["convolutions.*"]}
    with pytest.raises(BadInput, match="needs a model with a classifier that trains.*got cnn"):
        tiny.experiment({"algorithm": name, "model": model})


@pytest.mark.parametrize("name", ["fedper", "fedrep"])
def test_clients_that_never_train_have_no_classifier_and_are_refused(name):
    with pytest.raises(BadInput, match="no classifier for what never trains; got 0.4"):
        tiny.experiment({"algorithm": name, "holdout": {"clients": 0.4}})
