"""FedGMT: the server's running mean, and the loss that learns from it."""

import pytest
import torch
from tiny import alone, experiment

from mpifl.losses.gmt import Gmt
from mpifl.losses.step import ClientRound, Step
from mpifl.models.mlp import Mlp
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.training.callback import Callback
from mpifl.training.rounds import run

GMT = {"algorithm": {"name": "fedgmt", "decay": 0.5}, "local": {"loss": "ce + gmt"}}


def step_with(teacher_shift: float) -> Step:
    torch.manual_seed(0)
    net = Net(Mlp(hidden=(4,)).build((1, 2, 2), 3))
    sent = (net.weights.clone(), net.buffers.clone())
    vectors = {"w": sent[0], "average": sent[0] + teacher_shift}
    context = ClientRound(0, 0, 1, 3, torch.arange(3).numpy(), sent, vectors=vectors)
    return Step(net, torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64), context, 0)


def test_a_client_that_equals_its_teacher_has_no_loss_and_no_gradient():
    step = step_with(0.0)
    loss = Gmt()(step)
    gradient = step.net.take_gradient(loss)
    torch.testing.assert_close(loss.detach(), torch.zeros(()), atol=1e-6, rtol=0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


def test_the_loss_is_tau_squared_times_the_divergence_from_the_teacher():
    step = step_with(0.3)
    loss = Gmt(gamma=0.7, tau=2.0)(step)
    p = (step.net.twin("sent.average", step.context.models["average"])(step.x).logits / 2).softmax(
        -1
    )
    q = (step.out.logits / 2).softmax(-1)
    expected = 0.7 * 4 * (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(loss, expected)
    assert loss > 1e-4


def test_the_running_mean_is_tested_beside_the_model():
    class Means(Callback):
        def __init__(self):
            self.w, self.average, self.scores = [], [], []

        def round_finished(self, progress, last):
            self.w.append(progress.w)
            self.average.append(progress.means["average"])
            self.scores.append(progress.scores)

    heard = Means()
    x = experiment({"rounds": 2, **GMT, "evaluation": {"models": ["average"]}})
    start = x.clients.net.weights.clone()
    run(x, alone(), [heard])
    first = (start + heard.w[0]) / 2
    torch.testing.assert_close(heard.average[0], first)
    torch.testing.assert_close(heard.average[1], (first + heard.w[1]) / 2)
    assert list(heard.scores[0]) == ["average"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"local": {"loss": "ce + gmt"}}, "expected an algorithm that sends average; got FedAvg"),
        ({"evaluation": {"models": ["average"]}}, "or algorithm = fedexp or fedgmt"),
    ],
)
def test_a_loss_or_test_of_a_mean_that_the_algorithm_lacks_is_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        experiment({"rounds": 1, **changes})
