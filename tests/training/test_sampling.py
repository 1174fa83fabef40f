import numpy as np
import pytest

from mpifl.options import BadInput
from mpifl.training.sampling import Participation, assign, weights


@pytest.mark.parametrize(
    ("fraction", "clients", "size"), [(0.29, 100, 29), (0.07, 100, 7), (1.0, 3, 3), (0.5, 5, 2)]
)
def test_fixed_participation_takes_the_floor_without_replacement(fraction, clients, size):
    cohort = Participation(fraction=fraction).cohort(1, 4, clients)
    assert len(cohort) == len(set(cohort)) == size
    assert (np.diff(cohort) > 0).all()


def test_bernoulli_participation_varies_around_its_mean_and_never_picks_nobody():
    sizes = [
        len(Participation(kind="bernoulli", fraction=0.1).cohort(1, r, 100)) for r in range(1, 400)
    ]
    assert 9 < np.mean(sizes) < 11
    assert 2.4 < np.std(sizes) < 3.6
    assert (
        min(len(Participation(kind="bernoulli", fraction=0.05).cohort(1, r, 5)) for r in range(50))
        == 1
    )


MANY = 20_000
FIXED = Participation(fraction=0.01)
LARGE = Participation(fraction=0.2)
CHANCE = Participation(kind="bernoulli", fraction=0.3)


@pytest.mark.parametrize("draw", ["sample", "permutation"])
def test_up_to_ten_thousand_clients_cohorts_are_those_of_version_0_1(draw):
    few = Participation(fraction=0.3, draw=draw)
    assert few.cohort(5, 2, 12).tolist() == [1, 3, 9]
    chance = Participation(kind="bernoulli", fraction=0.3, draw=draw)
    assert chance.cohort(5, 2, 12).tolist() == [2, 4, 5, 8]
    most = Participation(fraction=0.0003, draw=draw)
    assert most.cohort(5, 2, 10_000).tolist() == [2652, 7512, 9534]
    more = most.cohort(5, 2, 10_001).tolist()
    assert (more == [2652, 7513, 9535]) == (draw == "permutation")


@pytest.mark.parametrize("of", [FIXED, LARGE, CHANCE], ids=str)
def test_a_sample_of_many_clients_takes_each_equally_often(of):
    rounds = 60
    met = np.zeros(MANY)
    for round in range(rounds):
        cohort = of.cohort(3, round, MANY)
        assert (np.diff(cohort) > 0).all() and cohort.dtype == np.int64
        if of.kind == "fixed":
            assert len(cohort) == of.fraction * MANY
        met[cohort] += 1
    expected = of.fraction * rounds
    deviation = (expected * (1 - of.fraction)) ** 0.5
    assert abs(met.mean() - expected) < 5 * deviation / MANY**0.5
    assert met.std() == pytest.approx(deviation, rel=0.05)
    for part in np.split(met, 8):
        assert abs(part.mean() - expected) < 5 * deviation / len(part) ** 0.5


def test_of_many_clients_a_draw_may_be_of_all_or_of_those_that_are_there():
    everybody = Participation(kind="bernoulli").cohort(1, 1, MANY)
    assert everybody.tolist() == list(range(MANY))
    assert len(Participation(fraction=0.5).cohort(1, 1, 30, of=MANY)) == 30


def test_the_cohort_depends_on_seed_and_round_only():
    some = Participation(fraction=0.3)
    assert some.cohort(1, 5, 40).tolist() == some.cohort(1, 5, 40).tolist()
    assert some.cohort(1, 5, 40).tolist() != some.cohort(1, 6, 40).tolist()
    assert some.cohort(1, 5, 40).tolist() != some.cohort(2, 5, 40).tolist()


def test_every_client_takes_part_equally_often():
    met = np.zeros(20)
    for round in range(1, 2001):
        met[Participation(fraction=0.25).cohort(3, round, 20)] += 1
    assert abs(met / 2000 - 0.25).max() < 0.04


@pytest.mark.parametrize("kind", ["fixed", "bernoulli"])
def test_a_participation_that_picks_nobody_is_refused(kind):
    with pytest.raises(BadInput, match=r"participation.fraction: .* picks nobody; allowed: 0.1"):
        Participation(kind=kind, fraction=1e-9).cohort(1, 1, 10)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_longest_first_plays_everybody_once_and_balances(workers):
    random = np.random.default_rng(0)
    cohort = np.sort(random.permutation(1000)[:60])
    costs = random.lognormal(size=60)
    plays = assign(cohort, costs, workers)
    assert sorted(c for play in plays for c in play) == cohort.tolist()
    load = [sum(costs[np.searchsorted(cohort, c)] for c in play) for play in plays]
    assert max(load) <= costs.sum() / workers + costs.max()


def test_more_workers_than_clients_leaves_some_without():
    assert assign(np.array([4, 9]), np.ones(2), 4) == [[4], [9], [], []]


def test_weights_sum_to_one():
    assert weights("samples", np.array([2, 6])).tolist() == [0.25, 0.75]
    assert weights("uniform", np.array([2, 6, 9])).sum() == pytest.approx(1)


def test_a_bernoulli_draw_of_nobody_stands_where_some_clients_are_not_there():
    rare = Participation(kind="bernoulli", fraction=0.001)
    sizes = [len(rare.cohort(1, round, 1, of=5)) for round in range(50)]
    assert sizes == [0] * 50
