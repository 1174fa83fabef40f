"""Features: reloaded models are those that the run tested, and their figures are numpy's."""

import numpy as np
import pytest
import torch

from mpifl.analysis.clients.features import (
    DIMENSIONS,
    count_models,
    effective_rank,
    features,
    spectrum,
    subset,
)
from mpifl.analysis.hessian.metrics import GLOBAL
from mpifl.analysis.models.reload import reload_run
from mpifl.options import BadInput


@pytest.fixture(scope="module")
def of(opened):
    return reload_run(opened("man-1"))


@pytest.fixture(scope="module")
def found(of):
    return features(of, [2, 4], clients=None)


def test_global_and_clients_models_classify_as_they_did_in_the_run(of, found):
    run = of.run
    for round, client, accuracy in zip(
        found["round"], found["client"], found["accuracy"], strict=True
    ):
        column = (
            run.rounds["test_accuracy"]
            if client == GLOBAL
            else run.clients["test_accuracy"][:, client]
        )
        assert accuracy == pytest.approx(column[round - 1], abs=1e-6)
    assert (found["client"] != GLOBAL).sum() == run.clients["participated"][[1, 3]].sum()


def test_activations_and_features_are_those_of_a_plain_forward_pass(of, found):
    net = of.load(*of.run.weights(4))
    seen = []
    hidden = [*net.module.convolutions, *net.module.dense]
    hooks = [
        part.norm.register_forward_hook(lambda _, __, out: seen.append(torch.relu(out)))
        for part in hidden
    ]
    hooks += [
        net.module.head.classifier.register_forward_hook(
            lambda _, inputs, __: seen.append(inputs[0])
        )
    ]
    test = of.samples(of.dataset.test)
    with torch.inference_mode():
        net(test.pick(torch.arange(len(test))))
    for hook in hooks:
        hook.remove()
    *activations, f = [out.double().numpy() for out in seen]
    at = np.flatnonzero((found["round"] == 4) & (found["client"] == GLOBAL))[0]
    assert found["activation"][at] == pytest.approx([(a**2).mean() for a in activations], rel=1e-5)
    assert (
        len(found["site"]) == len(activations)
        and found["site"][0] == f"1 ({'x'.join(map(str, activations[0].shape[1:]))})"
    )
    assert found["feature_norm"][at] == pytest.approx(np.linalg.norm(f, axis=1).mean(), rel=1e-5)
    values = np.linalg.eigvalsh(np.cov(f.T, bias=True))[::-1]
    assert found["spectrum"][at] == pytest.approx(values, rel=1e-4, abs=1e-6 * values[0])
    share = values[values > 0] / values[values > 0].sum()
    assert found["effective_rank"][at] == pytest.approx(
        np.exp(-(share * np.log(share)).sum()), rel=1e-4
    )


def test_models_are_counted_before_they_are_looked_at(of, found):
    assert count_models(of.run, [2, 4], None) == len(found["client"])
    assert (
        count_models(of.run, [2, 4], ()),
        count_models(of.run, [1, 4], None),
        count_models(of.run, [4], [0, 1]),
    ) == (2, 4, 3)


def test_every_array_has_the_axes_it_says(found):
    sizes = {}
    for name, axes in DIMENSIONS.items():
        for axis, size in zip(axes, found[name].shape, strict=True):
            assert sizes.setdefault(axis, size) == size, name


@pytest.mark.slow
def test_clients_may_be_looked_at_on_their_own_images(of):
    ids, weights, buffers = of.run.client_weights(4)
    client = int(ids[0])
    found = features(
        of,
        [4],
        clients=[client],
        images=lambda c: of.dataset.test if c == GLOBAL else of.own(client),
    )
    own = of.run.indices[of.run.offsets[client] : of.run.offsets[client + 1]]
    assert of.own(client).labels.tolist() == of.dataset.train.labels[own].tolist()
    net, samples = of.load(weights[0], buffers[0]), of.samples(of.own(client))
    with torch.inference_mode():
        right = net(samples.pick(torch.arange(len(samples)))).logits.argmax(-1) == samples.labels
    assert found["client"].tolist() == [GLOBAL, client]
    assert found["accuracy"][1] == pytest.approx(right.double().mean().item())


def test_looking_leaves_the_net_trainable_and_its_buffers_alone(of):
    weights, buffers = of.run.weights(4)
    features(of, [4])
    assert all(parameter.requires_grad for parameter in of.net.module.parameters())
    assert np.array_equal(of.net.buffers.numpy(), buffers) and np.array_equal(
        of.net.weights.numpy(), weights
    )


def test_a_collapse_shows_in_the_effective_rank():
    random = np.random.default_rng(0)
    full = random.standard_normal((500, 6))
    flat = full[:, :2] @ random.standard_normal((2, 6))
    assert effective_rank(spectrum(full)) > 5.8 and effective_rank(spectrum(flat)) < 2.01
    assert effective_rank(spectrum(np.ones((5, 3)))) == 0
    assert spectrum(random.standard_normal((2, 6))).shape == (6,)


def test_a_subset_is_the_same_for_all_and_in_order(of):
    part = subset(of.dataset.test, 50)
    assert len(part) == 50 and np.array_equal(part.images, subset(of.dataset.test, 50).images)
    assert subset(of.dataset.test, 10**6) is of.dataset.test


def test_what_is_not_there_is_told(of, opened):
    absent = next(c for c in range(5) if c not in of.run.client_weights(4)[0])
    for rounds, clients, expected in (
        ([9], (), "saved rounds"),
        ([4], [absent], "expected clients stored"),
        ([3], [0], "clients' weights"),
    ):
        with pytest.raises(BadInput, match=expected):
            features(of, rounds, clients)


def test_other_data_than_the_runs_are_refused(opened, tmp_path, of):
    from mpifl.data import packed

    packed.write(reload_run(opened("other-data")).dataset, tmp_path / "other.h5")
    with pytest.raises(BadInput, match="expected the data that it was trained on"):
        reload_run(of.run, str(tmp_path / "other.h5"))
