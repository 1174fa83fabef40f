"""Running means of the server's models: along four rounds of FedAvg, and in a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import RUN, alone, experiment
from two_quadratics import problem

import mpifl
from mpifl.algorithms.fedavg import FedAvg
from mpifl.config import merge
from mpifl.options import BadInput
from mpifl.schedules import Cyclic
from mpifl.training.averages import Ema, Swa
from mpifl.training.callback import Callback
from mpifl.training.rounds import run

START = torch.tensor([1.0, -1.0], dtype=torch.float64)


def along(average, models: list[torch.Tensor], start: torch.Tensor) -> list[torch.Tensor]:
    """The mean after each round."""
    found = []
    last = start
    before = start
    for round, after in enumerate(models, start=1):
        last = average(last, before, after, round, len(models))
        found.append(last)
        before = after
    return found


def test_an_exponential_mean_of_four_rounds_of_fedavg_is_that_of_an_independent_program():
    models = [moment.w for moment in problem(FedAvg())]
    end = along(Ema(decay=0.5), models, START)[-1]
    np.testing.assert_allclose(end, (0.03218025, 0.29150767), atol=2e-8)


def test_one_model_a_round_from_the_first_on_gives_the_mean_of_all():
    models = [moment.w for moment in problem(FedAvg())]
    end = along(Swa(start=0.0, cycle=1), models, START)[-1]
    np.testing.assert_allclose(end, (0.19786850, 0.16145947), atol=2e-8)


def numbered(rounds: int) -> list[torch.Tensor]:
    return [torch.tensor([float(round)]) for round in range(1, rounds + 1)]


def test_swa_is_the_model_until_it_begins_then_frozen_until_a_cycle_ends():
    found = along(Swa(start=0.5, cycle=3), numbered(12), torch.zeros(1))
    values = [float(value) for value in found]
    assert values == [1, 2, 3, 4, 5, 6, 6, 6, 9, 9, 9, (9 + 12) / 2]


def test_swa_may_take_the_first_model_of_the_next_cycle_as_the_authors_code_does():
    found = along(Swa(start=0.5, cycle=2, collect="next"), numbered(12), torch.zeros(1))
    values = [float(value) for value in found]
    assert values[6:] == [6, 6, 9, 9, (9 + 11) / 2, (9 + 11) / 2]


def test_the_papers_setting_averages_249_models_as_coded_each_of_its_cycles_highest_rate():
    rounds = 10_000
    swa = Swa(start=0.75, cycle=10, collect="next")
    rate = Cyclic(start=0.75, cycle=10, low=0.01)
    rates = []
    for round in range(7_501, rounds + 1):
        moved = swa(torch.zeros(1), torch.zeros(1), torch.ones(1), round, rounds)
        if moved > 0:
            rates.append(0.01 * rate(round, rounds))
    np.testing.assert_allclose(rates, [0.00901] * 249)


def test_decay_zero_is_the_model_itself_bit_for_bit():
    models = [moment.w for moment in problem(FedAvg())]
    assert all(map(torch.equal, along(Ema(decay=0.0), models, START), models))


def test_cyclic_rates_fall_within_each_cycle_counted_from_the_first_round():
    schedule = Cyclic(start=0.5, cycle=4, low=0.01)
    rates = [0.1 * schedule(round, 12) for round in range(7, 11)]
    np.testing.assert_allclose(rates, (0.02575, 0.001, 0.07525, 0.0505))
    assert schedule(6, 12) == 1.0


class Means(Callback):
    def __init__(self):
        self.w, self.average = [], []

    def round_finished(self, progress, last):
        self.w.append(progress.w)
        self.average.append(progress.means["average"])


def test_a_run_tests_the_mean_of_any_algorithm():
    heard = Means()
    average = {"name": "ema", "decay": 0.5}
    evaluation = {"models": ["average"], "average": average}
    x = experiment({"rounds": 3, "algorithm": {"name": "scaffold"}, "evaluation": evaluation})
    start = x.clients.net.weights.clone()
    progress = run(x, alone(), [heard])
    expected = along(Ema(decay=0.5), heard.w, start)
    assert all(map(torch.equal, heard.average, expected))
    assert "average" in progress.scores


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"average": "ema"}, r"expected evaluation.models = \[\"average\"\] with it"),
        ({"models": ["average"]}, "expected for average a server with a second model"),
    ],
)
def test_a_mean_without_its_test_and_a_test_without_a_mean_are_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        experiment({"rounds": 1, "evaluation": changes})


def test_a_second_mean_beside_an_algorithms_own_is_refused():
    evaluation = {"models": ["average"], "average": "ema"}
    with pytest.raises(BadInput, match="FedExP has a second model of its own"):
        experiment({"rounds": 1, "algorithm": {"name": "fedexp"}, "evaluation": evaluation})


def test_the_mean_is_stored_with_the_weights_and_read_again(tmp_path):
    average = {"name": "ema", "decay": 0.0}
    config = {
        "rounds": 1,
        "evaluation": {"models": ["average"], "average": average},
        "results": {"weights_every": 1},
    }
    raw = merge(RUN, config)
    stored = mpifl.run(raw, out=tmp_path / "run", quiet=True)
    np.testing.assert_array_equal(stored.average(), stored.weights()[0])
    with pytest.raises(BadInput, match="expected a run that stores the server's second model"):
        mpifl.run(merge(RUN, {"rounds": 1}), out=tmp_path / "other", quiet=True).average()
