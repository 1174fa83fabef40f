"""Clients with quadratic losses f_c(w) = (w - b_c)' A_c (w - b_c) / 2, in float64: every algorithm
has a closed form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mpifl.data.augmentation import Augmentation
from mpifl.data.batches import Samples
from mpifl.data.partition import Parts
from mpifl.losses.step import Step
from mpifl.models.network import Network
from mpifl.models.output import Output
from mpifl.net import Net
from mpifl.parallel.communicator import Communicator
from mpifl.training import client, worker
from mpifl.training.batchnorm import BufferPolicy
from mpifl.training.callback import Callback
from mpifl.training.client import Played, Task
from mpifl.training.client_rows import COLUMNS
from mpifl.training.clients import Clients
from mpifl.training.evaluate import Evaluation
from mpifl.training.experiment import Experiment
from mpifl.training.local import Local
from mpifl.training.progress import Progress
from mpifl.training.rounds import run
from mpifl.training.sampling import Participation, weights


class Point(Network):
    """Weights w [d] and nothing else."""

    classifier = "none"

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(start.clone())

    def forward(self, x: Tensor) -> Output:
        logits = self.w.new_zeros(len(x), 2)
        return Output(logits, logits)


class Quadratics:
    """`clients` random quadratics in `d` dimensions; also the loss that a Step of client c sees."""

    needs = frozenset()
    pull = 0.0

    def __init__(self, clients: int = 4, d: int = 3, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        roots = random.normal(size=(clients, d, d))
        self.A = torch.from_numpy(roots @ roots.transpose(0, 2, 1) / d + 0.5 * np.eye(d))
        self.b = torch.from_numpy(random.normal(size=(clients, d)))
        self.start = torch.from_numpy(random.normal(size=d))
        self.sizes = random.integers(1, 9, size=clients)

    def __call__(self, step: Step) -> Tensor:
        c = step.context.client
        away = step.net.module.w - self.b[c] + 0 * step.out.logits.sum()
        return away @ self.A[c] @ away / 2

    def evaluated(self, module: nn.Module) -> dict:
        return {}

    def share(self, objective: str) -> Tensor:
        """p_c [clients]: how much each weighs in the objective."""
        return torch.from_numpy(weights(objective, self.sizes))

    def gradient(self, c: int, w: Tensor) -> Tensor:
        return self.A[c] @ (w - self.b[c])

    def optimum(self, p: Tensor) -> Tensor:
        """argmin of sum p_c f_c."""
        A = torch.einsum("c,cij->ij", p, self.A)
        return torch.linalg.solve(A, torch.einsum("c,cij,cj->i", p, self.A, self.b))

    def experiment(
        self,
        algorithm,
        local: Local,
        rounds: int,
        participation: Participation = Participation(),
        **kwargs,
    ) -> Experiment:
        """A run of `algorithm` on these clients, whose numbers of samples are `sizes`."""
        n = int(self.sizes.sum())
        images, labels = np.zeros((n, 1, 1, 1), dtype=np.uint8), np.zeros(n, dtype=np.int64)
        samples = Samples(images, labels, (0.0,), (1.0,), dtype=torch.float64)
        net = Net(Point(self.start))
        clients = Clients(
            net=net,
            samples=samples,
            parts=Parts(np.arange(n), np.concatenate([[0], np.cumsum(self.sizes)])),
            labels=labels,
            classes=2,
            algorithm=algorithm,
            local=local,
            loss=self,
            augmentation=Augmentation(),
            buffers=BufferPolicy("average", net.layout),
            seed=1,
            rounds=rounds,
        )
        return Experiment(clients, samples, participation, Evaluation(), rounds, seed=1, **kwargs)


def mean(p: Tensor, states: list[dict[str, Tensor]], name: str) -> Tensor:
    """sum p_c of the clients' vectors `name`."""
    return sum(p[c] * state[name] for c, state in enumerate(states))


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


class Moment(NamedTuple):
    """A run after one of its rounds."""

    w: Tensor
    server: dict[str, Tensor]
    clients: list[dict[str, Tensor]]
    """what the algorithm remembers of each client, those that did not take part included"""
    models: list[Tensor]
    """the weights with which each client's last training ended"""
    failed: bool
    """whether some client of the round was left out"""


class History(Callback):
    """Remembers every round; notes what clients remember when a worker plays them."""

    def __init__(self, x: Experiment) -> None:
        self.moments: list[Moment] = []
        self._x = x
        w = x.clients.net.weights.clone()
        self._clients = [x.clients.initial_state(w).algorithm] * len(x.clients)
        self._models = [w] * len(x.clients)

    def run(self) -> None:
        """Run the experiment on this process alone."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker, "play", self._play)
            run(self._x, Communicator(), [self])

    def _play(self, clients: Clients, task: Task) -> Played:
        played = client.play(clients, task)
        if np.isfinite(played.row[COLUMNS.index("loss")]):
            self._clients[task.client] = played.state.algorithm
            self._models[task.client] = played.model.weights
        return played

    def round_finished(self, progress: Progress, last: bool) -> None:
        failed = bool(progress.rows[:, COLUMNS.index("failed")].any())
        self.moments.append(
            Moment(progress.w, progress.server, list(self._clients), list(self._models), failed)
        )


def moments(x: Experiment) -> list[Moment]:
    """Run `x` on this process alone: what it was after each round."""
    history = History(x)
    history.run()
    return history.moments


def weights_by_round(x: Experiment) -> list[Tensor]:
    """Run `x` on this process alone: the server's weights after each round."""
    return [moment.w for moment in moments(x)]
