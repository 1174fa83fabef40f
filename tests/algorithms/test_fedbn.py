"""FedBN: norms stay with each client, the rest is averaged, and each client is tested as itself."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from quadratics import Quadratics, distance, moments

import mpifl
from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedbn import FedBN
from mpifl.algorithms.local_only import LocalOnly
from mpifl.algorithms.own_part import OwnPart
from mpifl.analysis.models.reload import reload_run
from mpifl.options import BadInput
from mpifl.training.local import Local
from mpifl.training.messages import Sent
from mpifl.training.sampling import Participation

HALF = Participation(fraction=0.5)
RUN = {
    "rounds": 3,
    "clients": 4,
    "data": {
        "name": "synthetic",
        "options": {"shape": [1, 12, 12], "train": 120, "test": 60, "domains": 2, "classes": 3},
    },
    "partition": {"name": "domains"},
    "model": {"name": "lenet", "norm": "batch"},
    "algorithm": "fedbn",
    "holdout": {"ratio": 4},
    "local": {"lr": 0.05, "batch": 8},
    "results": {"clients_every": 3},
}


def owning(*coordinates):
    mine = torch.zeros(3, dtype=torch.bool)
    mine[list(coordinates)] = True
    return OwnPart(mine)


@pytest.mark.parametrize("participation", [Participation(), HALF])
def test_without_own_coordinates_it_is_fedavg_bit_for_bit(participation):
    local = Local(steps=3, batch=100, lr=0.05, momentum=0.9)
    found = []
    for algorithm in (owning(), FedBN(), FedAvg()):
        history = moments(Quadratics().experiment(algorithm, local, 5, participation))
        found.append([moment.w.tolist() for moment in history])
    assert found[0] == found[1] == found[2]


def test_with_all_coordinates_its_clients_own_they_are_those_of_local_training():
    local = Local(steps=3, batch=100, lr=0.05)
    own, alone = (
        moments(Quadratics().experiment(algorithm, local, 5, HALF))[-1]
        for algorithm in (owning(0, 1, 2), LocalOnly())
    )
    for mine, theirs in zip(own.clients, alone.clients, strict=True):
        assert torch.equal(mine["own"], theirs["w"])


@pytest.mark.slow
def test_with_one_step_a_round_it_ends_at_the_best_shared_weights_for_the_best_own_ones():
    """The optimum of sum p_c min_own f_c: Schur complements S_c, sum p_c S_c (w - b_c) = 0."""
    q = Quadratics()
    shared, own = [0, 2], [1]
    S = []
    for A in q.A:
        between = A[shared][:, own]
        S.append(A[shared][:, shared] - between @ torch.linalg.inv(A[own][:, own]) @ between.T)
    p = q.share("samples")
    left = sum(p[c] * S[c] for c in range(4))
    right = sum(p[c] * S[c] @ q.b[c][shared] for c in range(4))
    last = moments(q.experiment(owning(1), Local(steps=1, batch=100, lr=0.2), 600))[-1]
    assert distance(last.w[shared], torch.linalg.solve(left, right)) < 1e-9
    for c in range(4):
        model = last.w.clone()
        model[own] = last.clients[c]["own"]
        assert abs(q.gradient(c, model)[own]) < 1e-9


def test_the_servers_own_coordinates_stay_the_initial_ones_to_the_bit():
    q = Quadratics()
    last = moments(q.experiment(owning(1), Local(steps=2, batch=100, lr=0.1), 7, HALF))[-1]
    assert last.w[1] == q.start[1]
    assert (last.w != q.start).tolist() == [True, False, True]


def test_clients_differ_in_their_norms_only_and_are_tested_with_them_on_their_domains(tmp_path):
    run = mpifl.run(RUN, out=tmp_path / "run", quiet=True)
    reloaded = reload_run(run)
    norms = reloaded.net.coordinates.norms.numpy()
    w, _ = run.weights()
    assert (w[norms] == reloaded.initial()[0][norms]).all()
    ids, weights, buffers = run.client_weights(3)
    assert ids.tolist() == [0, 1, 2, 3]
    assert len({mine[norms].tobytes() for mine in weights}) == 4
    assert len({mine.tobytes() for mine in buffers}) == 4
    test = reloaded.dataset.test
    train = reloaded.dataset.train
    for client in ids.tolist():
        [domain] = set(train.domains[run.part(client)].tolist())
        model = w.copy()
        model[norms] = weights[client][norms]
        net = reloaded.load(model, buffers[client])
        counts = {
            "test": test.take(np.flatnonzero(test.domains == domain)),
            "own": train.take(run.own_test(client)),
        }
        for name, split in counts.items():
            samples = reloaded.samples(split)
            with torch.inference_mode():
                logits = net(samples.pick(torch.arange(len(split)))).logits
            right = int((logits.argmax(1) == samples.labels).sum())
            assert run.evaluations[f"{name}_right_by_client"][-1, client] == right
            assert run.evaluations[f"{name}_samples_by_client"][client] == len(split)
    by_domain = run.evaluations["test_samples_by_domain"]
    assert by_domain.tolist() == (2 * np.bincount(test.domains)).tolist()


@pytest.mark.slow
def test_a_resumed_run_is_one_that_was_never_stopped(tmp_path):
    options = {**RUN, "participation": {"fraction": 0.5}, "results": {"checkpoint_rounds": 2}}
    straight = mpifl.run({**options, "rounds": 4}, out=tmp_path / "straight", quiet=True)
    mpifl.run({**options, "rounds": 2}, out=tmp_path / "resumed", quiet=True)
    again = {**options, "rounds": 4}
    resumed = mpifl.run(again, out=tmp_path / "resumed", resume=True, quiet=True)
    assert straight.rounds["sha256"].tolist() == resumed.rounds["sha256"].tolist()
    assert straight.evaluations.keys() == resumed.evaluations.keys()
    for name, array in straight.evaluations.items():
        assert str(array.tolist()) == str(resumed.evaluations[name].tolist()), name


def test_norms_and_statistics_are_not_sent(tmp_path):
    fedbn = mpifl.run({**RUN, "rounds": 1}, out=tmp_path / "bn", quiet=True)
    fedavg = mpifl.run(
        {**RUN, "rounds": 1, "algorithm": "fedavg"}, out=tmp_path / "avg", quiet=True
    )
    net = reload_run(fedbn).net
    kept = int(net.coordinates.norms.sum()) + len(net.buffers)
    saved = fedavg.rounds["bytes_up"] - fedbn.rounds["bytes_up"]
    assert saved.tolist() == [4 * 4 * kept]
    assert (fedavg.rounds["bytes_down"] - fedbn.rounds["bytes_down"]).tolist() == saved.tolist()


def test_a_client_that_has_not_trained_has_the_initial_norms_and_statistics():
    x = tiny.experiment({"model": {"name": "lenet", "norm": "batch"}, "algorithm": "fedbn"})
    net = x.clients.net
    state = x.clients.initial_state(net.weights.clone())
    norms = net.coordinates.norms
    assert torch.equal(state.algorithm["own"], net.weights[norms])
    before = net.buffers.clone()
    sent = Sent({"w": torch.full_like(net.weights, 3.0)}, torch.full_like(net.buffers, 7.0))
    begin = x.clients.start(sent, state)
    assert torch.equal(begin.buffers, before)
    assert torch.equal(begin.weights[norms], net.weights[norms])
    assert (begin.weights[~norms] == 3.0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"holdout": {"domains": ["domain 1"]}}, r"holdout.domains: expected none with FedBN"),
        ({"holdout": {"clients": 0.3}}, r"holdout.clients: expected none with FedBN"),
        ({"holdout": {"clients": [1]}}, r"no norms for what never trains; got \[1\]"),
        ({"model": {"name": "lenet", "norm": "none"}}, "needs a model with norms"),
    ],
)
def test_what_never_trains_has_no_norms_and_is_refused_in_one_line(tmp_path, options, said):
    with pytest.raises(BadInput, match=said) as caught:
        mpifl.run({**RUN, **options}, out=tmp_path / "run", quiet=True)
    assert "\n" not in str(caught.value)
