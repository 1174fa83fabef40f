"""Runs that leave domains out: what trains, what is counted by domain, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import mpifl
from mpifl.data import packed
from mpifl.data.dataset import Split, assemble
from mpifl.options import BadInput
from mpifl.plan.dry_run import dry_run
from mpifl.runner.schema import resolve

DOMAINS = {
    "rounds": 4,
    "clients": 6,
    "data": {
        "name": "synthetic",
        "options": {"shape": [3, 6, 6], "train": 240, "test": 90, "domains": 3, "classes": 4},
    },
    "partition": {"name": "domains"},
    "model": {"name": "mlp", "hidden": [8]},
    "local": {"lr": 0.1, "batch": 32},
    "holdout": {"domains": ["domain 1"]},
    "results": {"commit_seconds": 0, "checkpoint_rounds": 2},
}


def ran(tmp_path, name="run", **options):
    return mpifl.run({**DOMAINS, **options}, out=tmp_path / name, quiet=True)


def pack(path, train, test, clients=None):
    """A white pixel in one of two places tells the class; in the domain `turned` it is the other.

    `train` and `test` are the domains of the samples: 0 upright, 1 turned, 2 also upright.
    """

    def split(domains, owners):
        domains = np.array(domains)
        labels = np.arange(len(domains)) % 2
        images = np.zeros((len(domains), 1, 4, 4), np.uint8)
        places = np.where(domains == 1, 1 - labels, labels)
        images[np.arange(len(domains)), 0, places, places] = 255
        return Split(images, labels, domains, None if owners is None else np.array(owners))

    names = ("upright", "turned", "again")
    owner_names = () if clients is None else tuple(f"c{c}" for c in range(max(clients) + 1))
    made = assemble(
        "two", split(train, clients), split(test, None), ("a", "b"), "made", names, owner_names
    )
    packed.write(made, path)
    return {"path": str(path)}


@pytest.mark.slow
def test_a_model_of_upright_images_fails_on_the_turned_domain_that_it_has_never_met(tmp_path):
    data = pack(tmp_path / "two.h5", [0, 0, 1, 1, 2, 2] * 10, [0, 0, 1, 1, 2, 2] * 2)
    options = {"data": data, "clients": 4, "local": {"lr": 0.5, "epochs": 20}}
    run = ran(tmp_path, holdout={"domains": ["turned"]}, **options)
    assert run.rounds["source_accuracy"][-1] == 1
    assert run.rounds["test_accuracy"][-1] == 0
    counts = run.evaluations
    assert counts["names_by_domain"].tolist() == ["upright", "turned", "again"]
    assert counts["test_samples_by_domain"].tolist() == [0, 24, 0]
    assert counts["source_samples_by_domain"].tolist() == [4, 0, 4]
    assert counts["test_right_by_domain"][-1].tolist() == [0, 0, 0]
    assert counts["source_right_by_domain"][-1].tolist() == [4, 0, 4]
    assert run.left_out == ("turned",)


def test_no_sample_of_a_left_out_domain_is_a_training_sample(tmp_path):
    run = ran(tmp_path, partition={"name": "dirichlet"}, holdout={"domains": [1], "ratio": 4})
    config = resolve({**DOMAINS, "holdout": {}})
    domains = mpifl.runner.build.load_data(config.data, config.seed).train.domains
    trains = np.flatnonzero(domains != 1)  # indices of the run count these only
    every = np.sort(np.concatenate([run.indices, run.holdout["indices"]]))
    assert every.tolist() == list(range(len(trains)))
    assert run.label_counts.sum() == len(run.indices)
    assert run.evaluations["own_samples_by_domain"][1] == 0
    assert run.evaluations["own_samples_by_domain"].sum() == len(run.holdout["indices"])
    assert run.evaluations["test_samples_by_domain"].tolist()[::2] == [0, 0]


def test_columns_are_what_the_counts_by_domain_say(tmp_path):
    run = ran(tmp_path, evaluation={"train_every": 4})
    counts = run.evaluations
    tested = counts["test_right_by_domain"][:, 1] / counts["test_samples_by_domain"][1]
    assert run.rounds["test_accuracy"] == pytest.approx(tested)
    source = (
        counts["source_right_by_domain"][:, [0, 2]] / counts["source_samples_by_domain"][[0, 2]]
    )
    assert run.rounds["source_accuracy"] == pytest.approx(source.mean(1))
    assert run.rounds["source_accuracy_worst_domain"] == pytest.approx(source.min(1))
    loss = counts["source_loss_by_domain"][:, [0, 2]] / counts["source_samples_by_domain"][[0, 2]]
    assert run.rounds["source_loss"] == pytest.approx(loss.mean(1))
    trained = counts["train_right_by_domain"][3]
    assert trained.sum() == counts["train_right_by_client"][3].sum()
    assert trained[1] == counts["train_samples_by_domain"][1] == 0


def test_with_nothing_left_out_accuracy_is_counted_by_domain_and_the_weights_are_the_same(tmp_path):
    run = ran(tmp_path, holdout={}, rounds=2)
    counts = run.evaluations
    assert "source_right_by_domain" not in counts
    assert counts["test_samples_by_domain"].sum() == 90
    by_domain = counts["test_right_by_domain"] / counts["test_samples_by_domain"]
    assert run.rounds["test_accuracy_domains"] == pytest.approx(by_domain.mean(1))
    assert run.rounds["test_accuracy_worst_domain"] == pytest.approx(by_domain.min(1))
    assert (counts["test_right_by_domain"].sum(1) == counts["test_right_by_class"].sum(1)).all()


@pytest.mark.slow
def test_a_resumed_run_has_the_counts_of_one_that_was_never_stopped(tmp_path):
    straight = ran(tmp_path)
    ran(tmp_path, "resumed", rounds=2)
    resumed = mpifl.run({**DOMAINS}, out=tmp_path / "resumed", resume=True, quiet=True)
    assert straight.rounds["sha256"].tolist() == resumed.rounds["sha256"].tolist()
    assert straight.left_out == resumed.left_out
    assert straight.evaluations.keys() == resumed.evaluations.keys()
    for name, array in straight.evaluations.items():
        assert str(array.tolist()) == str(resumed.evaluations[name].tolist()), name


@pytest.mark.parametrize("limits", [{}, {"train_limit": 40, "test_limit": 8}])
def test_a_plan_of_a_packed_file_counts_the_samples_that_the_run_has(tmp_path, limits):
    data = pack(tmp_path / "two.h5", [0, 0, 1, 1, 2, 2] * 10, [0, 0, 1, 1, 2, 2] * 2) | limits
    options = {**DOMAINS, "data": data, "clients": 4, "holdout": {"domains": ["turned"]}}
    planned = dry_run(resolve(options)).data
    run = ran(tmp_path, **{**options, "rounds": 1})
    assert planned.test == run.evaluations["test_samples_by_domain"].sum()
    assert planned.validation == run.evaluations["source_samples_by_domain"].sum()
    assert len(planned.labels) == len(run.indices)
    assert planned.left_out == ("turned",)


@pytest.mark.slow
def test_a_partition_of_a_run_with_other_domains_left_out_is_refused(tmp_path):
    whole = ran(tmp_path, "whole", holdout={}, rounds=1)
    with pytest.raises(BadInput, match=r"same domains left out \(domain 1\); got one with none"):
        ran(tmp_path, partition={"name": "run", "path": str(whole.path)})
    left = ran(tmp_path, "left", rounds=1)
    again = ran(tmp_path, "again", partition={"name": "run", "path": str(left.path)}, rounds=1)
    assert again.rounds["sha256"].tolist() == left.rounds["sha256"].tolist()


def test_a_client_of_the_left_out_domain_only_is_refused_or_left_away(tmp_path):
    train = [0, 0, 1, 1, 2, 2] * 10
    data = pack(tmp_path / "two.h5", train, [0, 1, 2, 0, 1, 2], clients=train)
    options = {
        "data": data,
        "partition": {"name": "natural"},
        "holdout": {"domains": ["turned"]},
        "rounds": 1,
    }
    with pytest.raises(BadInput, match="1 of 3 clients without samples of others; set clients = 2"):
        ran(tmp_path, clients=3, **options)
    run = ran(tmp_path, clients=2, **options)
    assert np.diff(run.offsets).tolist() == [20, 20]
