"""Names that an algorithm chooses for what it sends and remembers never meet the loop's own."""

from __future__ import annotations

import pytest
import torch
from quadratics import Quadratics
from tiny import alone, experiment

from mpifl.options import options
from mpifl.training.algorithm import Algorithm
from mpifl.training.callback import Callback
from mpifl.training.client_states import ClientState
from mpifl.training.local import Local
from mpifl.training.messages import Model
from mpifl.training.rounds import run
from mpifl.training.sampling import Participation

REMEMBERED = ("met", "previous", "previous_buffers", "latest", "momentum", "buffers", "algorithm.x")
SENT = ("control", "order", "buffers", "mean.cohort")
CLIENTS, ROUNDS = 3, 3


@options
class Counting(Algorithm):
    """FedAvg that also counts rounds, under each name that the loop itself uses."""

    def init_server(self, w):
        return {name: torch.zeros_like(w) for name in SENT}

    def init_client(self, w):
        return {name: w.new_full((2,), float(place)) for place, name in enumerate(REMEMBERED)}

    def send(self, w, server):
        return {"w": w, **server}

    def client(self, sent, own, train):
        SEEN.append(({name: sent[name][0].item() for name in SENT}, state_of(own)))
        reply = {name: sent[name] + 1 for name in SENT}
        remembered = {name: vector + 10 for name, vector in own.items()}
        return {"w": train(sent["w"]).y, **reply}, remembered

    def server(self, w, server, mean, of):
        return mean["w"], {name: mean[name] for name in SENT}


SEEN: list[tuple[dict[str, float], dict[str, float]]] = []


def state_of(own) -> dict[str, float]:
    return {name: vector[0].item() for name, vector in own.items()}


class Models(Callback):
    """The server's weights after each round."""

    def __init__(self) -> None:
        self.weights: list[torch.Tensor] = []

    def round_finished(self, progress, last) -> None:
        self.weights.append(progress.w)


def played(algorithm, raw=None) -> list[torch.Tensor]:
    """The weights of each round of a run in which clients have all that the loop can keep."""
    SEEN.clear()
    model = {"name": "lenet", "norm": "batch", "projection": 4}
    x = experiment(
        {
            "rounds": ROUNDS,
            "participation": {"fraction": 1.0},
            "model": model,
            "buffers": "local",
            "local": {"loss": "ce + moon", "momentum": 0.9, "momentum_state": "persist"},
            "evaluation": {"models": ["cohort", "all"]},
        }
    )
    x.clients.algorithm = algorithm
    models = Models()
    run(x, alone(), [models])
    return models.weights


def test_an_algorithm_that_uses_the_loops_names_keeps_its_own_values_over_three_rounds():
    played(Counting())
    assert len(SEEN) == CLIENTS * ROUNDS
    for number, (sent, own) in enumerate(SEEN):
        round = number // CLIENTS
        assert own == {name: place + 10.0 * round for place, name in enumerate(REMEMBERED)}
        assert sent == pytest.approx(dict.fromkeys(SENT, float(round)))


def test_such_names_change_nothing_in_the_training():
    from mpifl.algorithms.fedavg import FedAvg

    theirs = played(Counting())
    assert all(map(torch.equal, theirs, played(FedAvg())))


def test_client_is_called_as_often_as_the_cohorts_have_members():
    q, calls = Quadratics(), []

    @options
    class Counted(Algorithm):
        def client(self, sent, own, train):
            calls.append(1)
            return {"w": train(sent["w"]).y}, own

        def server(self, w, server, mean, of):
            return mean["w"], server

    half = Participation(fraction=0.5)
    run(q.experiment(Counted(), Local(steps=1), 5, half), alone())
    assert len(calls) == 5 * 2


def test_a_state_comes_back_from_its_flat_form_with_every_owner_in_place():
    w, b = torch.ones(3), torch.zeros(2)
    own = {name: torch.full((1,), float(place)) for place, name in enumerate(REMEMBERED)}
    state = ClientState(own, w + 1, Model(w + 2, b + 2), w + 3, b + 4, has_played=True)
    again = ClientState.from_flat(state.flat())
    assert state_of(again.algorithm) == state_of(own)
    assert again.has_played and torch.equal(again.previous.weights, w + 2)
    assert again.momentum.tolist() == [2.0] * 3 and again.buffers.tolist() == [4.0] * 2


def test_a_state_of_version_0_1_where_names_had_no_owner_is_read():
    vectors = {"c": torch.ones(3), "momentum": torch.zeros(3), "latest": torch.ones(3)}
    state = ClientState.from_flat(vectors)
    assert list(state.algorithm) == ["c"] and state.momentum is not None
    assert state.latest is not None and state.previous is None


WRONG = {
    "init_client": ({"init_client": {"a/b": torch.zeros(1)}}, "a text without a slash; got 'a/b'"),
    "init_server": ({"init_server": {"a": torch.zeros(1, dtype=torch.bfloat16)}}, "of numbers"),
    "send": ({"init_server": {"a": torch.zeros(2, dtype=torch.int64)}}, "as the weights are"),
    "a scalar": ({"init_client": {"a": torch.zeros(())}}, r"expected a vector \[n\]"),
    "no dict": ({"init_client": None}, "expected a dict of vectors; got NoneType"),
    "forgotten": (
        {"init_client": {"a": torch.zeros(1)}, "kept": {}},
        r"expected the names \['a'\]",
    ),
    "new shape": (
        {"init_client": {"a": torch.zeros(1)}, "kept": {"a": torch.zeros(2)}},
        r"\[1\], as before; got torch.float32 \[2\]",
    ),
}
"""what an algorithm may not give, and what is said of it"""


@pytest.mark.parametrize("case", WRONG)
def test_what_an_algorithm_may_not_give_is_refused_with_its_name(case):
    given, line = WRONG[case]

    @options
    class Wrong(Algorithm):
        def init_server(self, w):
            return given.get("init_server", {})

        def init_client(self, w):
            return given.get("init_client", {})

        def send(self, w, server):
            return {"w": w, **server}

        def client(self, sent, own, train):
            return {"w": train(sent["w"]).y}, given.get("kept", own)

        def server(self, w, server, mean, of):
            return mean["w"], server

    x = experiment({"rounds": 1})
    x.clients.algorithm = Wrong()
    with pytest.raises(TypeError, match=f"^Wrong.*{line}"):
        run(x, alone())
