"""Ranks that a run cannot use."""

from __future__ import annotations

import pytest

from mpifl.runner import schema
from mpifl.runner.idle_workers import idle_workers

FOUR = {"name": "x", "clients": 4}
HALF = {**FOUR, "participation": {"kind": "fixed", "fraction": 0.5}}
CHANCE = {**FOUR, "participation": {"kind": "bernoulli", "fraction": 0.1}}


@pytest.mark.parametrize(
    ("config", "ranks", "told"),
    [
        (FOUR, 7, "2 of 6 workers never train: a round has at most 4 clients; 5 ranks are enough"),
        (HALF, 4, "1 of 3 workers never train: a round has at most 2 clients; 3 ranks are enough"),
        (FOUR, 5, None),
        (FOUR, 1, None),
        (CHANCE, 5, None),
        (
            CHANCE,
            6,
            "1 of 5 workers never train: a round has at most 4 clients; 5 ranks are enough",
        ),
    ],
)
def test_workers_beyond_the_clients_of_a_round_are_told(config, ranks, told):
    assert idle_workers(schema.resolve(config), ranks) == told
