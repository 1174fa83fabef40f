"""What is tested: the server's weights, the mean of the round's models, of every client's latest,
and each client's.
"""

import pytest
import tiny
import torch
from quadratics import History, Quadratics, distance

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.feddyn import FedDyn
from mpifl.net import Net
from mpifl.training.callback import Callback
from mpifl.training.client_rows import COLUMNS
from mpifl.training.evaluate import evaluate, score
from mpifl.training.local import Local
from mpifl.training.rounds import run
from mpifl.training.sampling import Participation

HALF = Participation(fraction=0.5)
LOCAL = Local(steps=3, batch=100, lr=0.2)


class Means(History):
    """Remembers the means of local models too."""

    def __init__(self, x):
        super().__init__(x)
        self.means = []

    def round_finished(self, progress, last):
        super().round_finished(progress, last)
        self.means.append(dict(progress.means))


@pytest.mark.parametrize("algorithm", [FedAvg(), FedDyn(alpha=0.5)])
@pytest.mark.parametrize("objective", ["samples", "uniform"])
def test_means_are_of_the_rounds_models_and_of_every_clients_latest(algorithm, objective):
    """A client that was never drawn has the initial weights."""
    q = Quadratics()
    x = q.experiment(algorithm, LOCAL, 6, HALF, objective=objective)
    x.clients.means = ("cohort", "all")
    history, p = Means(x), q.share(objective)
    history.run()
    for round, (moment, means) in enumerate(
        zip(history.moments, history.means, strict=True), start=1
    ):
        cohort = HALF.cohort(1, round, 4)
        of_round = sum(p[c] * moment.models[c] for c in cohort) / sum(p[c] for c in cohort)
        assert distance(means["cohort"], of_round) < 1e-12
        assert distance(means["all"], sum(p[c] * moment.models[c] for c in range(4))) < 1e-12
    assert torch.equal(
        history.moments[0].models[next(c for c in range(4) if c not in HALF.cohort(1, 1, 4))],
        q.start,
    )


class Last(Callback):
    """Keeps the last round."""

    def round_finished(self, progress, last):
        self.progress = progress


def last_round(evaluation, **changes):
    """The experiment and last round of a run with batch norm and client models on the server."""
    raw = {
        "model": {"name": "resnet20"},
        "results": {"clients_every": 1},
        "evaluation": evaluation,
        **changes,
    }
    x, callback = tiny.experiment(raw), Last()
    run(x, tiny.alone(), [callback])
    return x, callback.progress


def scored(x, w, buffers):
    net: Net = x.clients.net
    net.load(w, buffers)
    return score(evaluate(net, x.test, 500), len(x.test))


def test_means_are_tested_with_the_servers_buffers():
    x, progress = last_round({"models": ["cohort", "all"]}, algorithm="feddyn")
    assert progress.scores == {
        name: scored(x, w, progress.buffers) for name, w in progress.means.items()
    }
    assert progress.score == scored(x, progress.w, progress.buffers)
    assert len({progress.score.loss, *(score.loss for score in progress.scores.values())}) == 3


def test_the_mean_of_the_rounds_models_is_fedavgs_server():
    _, progress = last_round({"models": ["cohort"]})
    assert progress.scores == {"cohort": progress.score}


def test_each_clients_own_model_is_tested_with_its_own_buffers():
    x, progress = last_round({"clients": True})
    own = [scored(x, w, buffers).accuracy for w, buffers in progress.models]
    assert progress.rows[:, COLUMNS.index("test_accuracy")].tolist() == own
    assert len(own) == len(progress.cohort) > 1


@pytest.mark.parametrize("shares", [2, 3])
def test_shares_of_a_test_add_up_to_the_whole_to_the_bit(shares):
    x, progress = last_round({})
    net = x.clients.net
    net.load(progress.w, progress.buffers)
    whole = evaluate(net, x.test, 5)
    parts = [evaluate(net, x.test, 5, range(share, 3, shares)) for share in range(shares)]
    assert (sum(parts) == whole).all()
    assert whole.shape == (3, 2)


def test_a_test_is_of_clean_images_in_evaluation_mode_whatever_the_loss_mixes():
    x, progress = last_round({}, local={"loss": "mixup(ce, gamma=1.0)"})
    net = x.clients.net
    net.load(progress.w, progress.buffers)
    net.module.eval()
    with torch.no_grad():
        logits = net(x.test.pick(torch.arange(len(x.test)))).logits
    right = (logits.argmax(-1) == x.test.labels).double().mean().item()
    assert progress.score.accuracy == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
def test_what_is_tested_moves_no_bit_of_the_training(algorithm):
    raw = {"model": {"name": "cnn", "norm": "batch"}, "algorithm": algorithm}
    more = {"models": ["cohort", "all"], "clients": True}
    plain, tested = (tiny.digests({**raw, "evaluation": evaluation}) for evaluation in ({}, more))
    assert [digest for digest, _ in plain] == [digest for digest, _ in tested]
