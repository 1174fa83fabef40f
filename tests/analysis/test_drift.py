"""Drift: the same numbers as from the stored vectors directly."""

import numpy as np
import pytest

from mpifl.analysis.clients.agreement import agreement
from mpifl.analysis.clients.drift import DIMENSIONS, drift, slices
from mpifl.analysis.models.reload import reload_run
from mpifl.options import BadInput


def direct(run, round: int, sent: np.ndarray, part: slice = slice(None)) -> dict[str, np.ndarray]:
    """The figures of one round in float64, vector by vector."""
    ids, models, _ = run.client_weights(round)
    models, sent = models.astype("f8")[:, part], sent.astype("f8")[part]
    weight = run.clients["weight"][round - 1, ids].astype("f8")
    mean = sum(p * y for p, y in zip(weight / weight.sum(), models, strict=True))
    updates = models - sent
    unit = updates / np.linalg.norm(updates, axis=1, keepdims=True)
    return {
        "drift": np.linalg.norm(updates, axis=1),
        "spread": np.linalg.norm(models - mean, axis=1),
        "cosine": unit @ unit.T,
    }


@pytest.fixture(scope="module")
def found(opened):
    return drift(opened("avg-1"))


def test_drift_spread_and_cosines_are_those_of_the_stored_models(opened, found):
    run = opened("avg-1")
    assert found["round"].tolist() == [2, 4]
    for at, round in enumerate((2, 4)):
        k = len(run.client_weights(round)[0])
        for name, value in direct(run, round, run.weights(round - 1)[0]).items():
            got = (
                found[f"{name}_whole"][at][:k]
                if name != "cosine"
                else found["cosine_whole"][at][:k, :k]
            )
            assert got == pytest.approx(value, rel=1e-6, abs=1e-7), name


def test_each_layer_has_its_own(opened, found):
    run = opened("avg-1")
    k = len(run.client_weights(4)[0])
    for number, (layer, part) in enumerate(slices(run.layout).items()):
        values = direct(run, 4, run.weights(3)[0], part)
        assert found["layer"][number] == layer
        assert found["drift"][1, :k, number] == pytest.approx(values["drift"], rel=1e-6)
        assert found["cosine"][1, :k, :k, number] == pytest.approx(values["cosine"], abs=1e-7)
        assert found["scale"][1, number] == pytest.approx(
            np.linalg.norm(run.weights(3)[0][part].astype("f8"))
        )


def test_layers_cover_the_weights_and_no_more(opened):
    parts = list(slices(opened("avg-1").layout).values())
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == len(opened("avg-1").weights(4)[0])


def test_cohorts_of_unlike_sizes_are_filled_up(opened):
    found = drift(opened("avg-2"))
    sizes = [len(opened("avg-2").client_weights(round)[0]) for round in (2, 4)]
    assert len(set(sizes)) == 2, "the case is there"
    small = int(np.argmin(sizes))
    assert (found["client"][small] == -1).sum() == max(sizes) - min(sizes)
    assert np.isnan(found["drift_whole"][small, min(sizes) :]).all()
    for name, axes in DIMENSIONS.items():
        assert found[name].ndim == len(axes), name


def test_round_1_begins_from_the_initial_weights(opened):
    run = opened("first")
    initial, _ = reload_run(run).initial()
    found = drift(run, initial=initial)
    assert found["round"].tolist() == [1]
    assert found["drift_whole"][0] == pytest.approx(direct(run, 1, initial)["drift"], rel=1e-6)


def test_agreement_is_the_mean_over_pairs():
    cosine = np.array(
        [
            [[1, 0.2, np.nan], [0.2, 1, np.nan], [np.nan] * 3],
            [[1, 0.1, 0.2], [0.1, 1, 0.6], [0.2, 0.6, 1]],
        ]
    )
    assert agreement(cosine) == pytest.approx([0.2, 0.3])
    assert agreement(np.stack([cosine, cosine], -1)) == pytest.approx(
        np.array([[0.2, 0.2], [0.3, 0.3]])
    )
    assert np.isnan(agreement(np.ones((1, 1, 1)))).all()


MISTAKES = {
    "bare": ((), "results.clients_every=N"),
    "first": ((), "expected the weights that the stored clients were sent"),
    "avg-1": ((3,), "expected a round saved with its clients' weights"),
    "avg-2": ((7,), "expected one of the saved rounds"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_not_stored_is_told_in_one_line(opened, name):
    rounds, expected = MISTAKES[name]
    with pytest.raises(BadInput) as told:
        drift(opened(name), rounds)
    assert expected in str(told.value) and "\n" not in str(told.value)
