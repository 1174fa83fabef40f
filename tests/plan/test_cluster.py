"""plan --nodes: a round on a cluster is the sum of its parts, and what takes the most is named."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

from mpifl.cli import main
from mpifl.options import BadInput
from mpifl.plan import cost
from mpifl.plan.cluster import Cluster, Work, end_of_round, finish, forecast, last_that_pays
from mpifl.plan.dry_run import dry_run
from mpifl.plan.network import Link, Network, network
from mpifl.plan.profile import Profile
from mpifl.runner import schema

SMALL = {
    "rounds": 4,
    "clients": 12,
    "participation": {"fraction": 0.5},
    "data": {
        "name": "synthetic",
        "options": {"shape": [3, 8, 8], "train": 240, "test": 40, "classes": 4},
    },
    "partition": {"name": "dirichlet", "alpha": 0.5, "minimum": 5},
    "model": {"name": "mlp", "hidden": [16]},
    "local": {"batch": 8, "lr": 0.01},
    "evaluation": {"where": "server"},
}
MEASURED = Profile(8, step=0.01, client=0.001, evaluation=0.002, activations=0, server=0.003)
SLOW = Link(latency=1e-3, broadcast=1e6, reduce=1e6)
FAST = Link(latency=0.0, broadcast=1e15, reduce=1e15)
NOTHING = Network(FAST, FAST, "")


@pytest.fixture(scope="module")
def planned():
    return dry_run(schema.resolve(SMALL))


def test_one_rank_does_everything_one_after_the_other(planned):
    found = forecast(planned, MEASURED, Cluster(1, 1, NOTHING))
    steps = np.mean([turn.steps.sum() for turn in cost.turns(planned)])
    assert found.round == pytest.approx(6 * 0.001 + steps * 0.01 + 0.002 + 0.003)
    assert found.efficiency == pytest.approx(1)


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_training_is_that_of_the_rank_that_the_run_gives_the_most(planned, nodes):
    found = forecast(planned, MEASURED, Cluster(nodes, 1, NOTHING))
    load = cost.loads(planned, [nodes])[0]
    assert found.training == pytest.approx(load.clients * 0.001 + load.longest * 0.01, rel=0.02)
    assert found.round == pytest.approx(found.training + found.waiting + 0.003)
    assert found.efficiency < 1
    # how the ranks are placed changes nothing where each has a core
    assert forecast(planned, MEASURED, Cluster(1, nodes, NOTHING)).round == found.round


def test_ranks_on_fewer_cores_take_turns(planned):
    apart = forecast(planned, MEASURED, Cluster(1, 5, NOTHING))
    shared = forecast(planned, MEASURED, Cluster(1, 5, NOTHING, cores=2))
    single = forecast(planned, MEASURED, Cluster(1, 5, NOTHING, cores=1))
    assert apart.round < shared.round < single.round
    assert single.round == pytest.approx(single.alone)
    threads = forecast(planned, MEASURED, Cluster(1, 5, NOTHING, cores=4, threads=2))
    assert threads.round == shared.round


def test_work_that_shares_cores_ends_when_the_last_of_it_does():
    assert finish(np.array([2.0, 0.0, 0.0]), 1) == 2
    assert finish(np.array([2.0, 2.0]), 1) == 4
    assert finish(np.array([4.0, 1.0]), 1) == 5
    assert finish(np.array([4.0, 1.0]), 2) == 4


@pytest.mark.parametrize(
    ("changed", "cluster", "limit"),
    [
        ({}, Cluster(1, 2, NOTHING), "compute"),
        ({}, Cluster(1, 8, NOTHING), "longest client"),
        ({"evaluation": 9.0}, Cluster(1, 8, NOTHING), "test"),
        ({"server": 9.0}, Cluster(1, 8, NOTHING), "server"),
        ({}, Cluster(8, 1, Network(replace(SLOW, reduce=1.0), FAST, "")), "Reduce"),
        ({}, Cluster(1, 8, Network(FAST, replace(SLOW, broadcast=1.0), "")), "Bcast"),
    ],
)
def test_what_takes_the_most_is_named(planned, changed, cluster, limit):
    assert forecast(planned, MEASURED._replace(**changed), cluster).limit == limit


@pytest.mark.parametrize(
    ("where", "end"),
    [
        ("server", 8.0),  # rank 0 alone, while the others train
        ("all", 3.0 + 2.0),  # two batches for each
        ("auto", 4.0),  # 4, 3, 1 and 0 batches after 0, 1, 2 and 3 seconds of training
        ("personal", 3.0 + 8.0 / 3),
    ],
)
def test_who_tests_decides_who_waits(where, end):
    work = Work(np.array([1.0, 2.0, 3.0]), longest_client=1.0, test=8.0, batches=8)
    assert end_of_round(work, Cluster(2, 2, NOTHING), where) == pytest.approx(end)
    assert end_of_round(work._replace(test=0.0), Cluster(2, 2, NOTHING), where) == 3.0
    # on one core nobody waits for anybody
    one_core = Cluster(1, 4, NOTHING, cores=1)
    assert end_of_round(work, one_core, where) == pytest.approx(14.0)


def test_more_nodes_stop_paying_at_the_longest_client(planned):
    found = [forecast(planned, MEASURED, Cluster(n, 1, NOTHING)) for n in (1, 2, 4, 8, 16)]
    last = last_that_pays(found[1:])
    assert last is not None and last.nodes == 8
    assert last_that_pays(found[2:4]) is None


def test_long_messages_go_in_pieces_and_short_ones_down_a_tree():
    link = Link(latency=1e-6, broadcast=1e9, reduce=5e8)
    assert link.broadcast_seconds(1e6, 1) == 0
    assert link.broadcast_seconds(8, 64) == pytest.approx(6 * (1e-6 + 8e-9))
    assert link.broadcast_seconds(1e9, 64) == pytest.approx(2 * 63 / 64, rel=1e-3)
    assert link.reduce_seconds(1e9, 64) == pytest.approx(4 * 63 / 64, rel=1e-3)


def test_a_network_is_given_in_words_or_measured_by_the_doctor(tmp_path):
    given = network(("25GB/s, 2us",))
    assert (given.between.broadcast, given.between.latency) == (25e9, 2e-6)
    assert network(("100Gbit/s,1.5us",)).between.reduce == 12.5e9
    link = Link(latency=3e-6, broadcast=2e9, reduce=1e9)
    rows = []
    for count in (8, 4_000_000):
        rows.append(
            {
                "broadcast": count,
                "broadcast_seconds": link.broadcast_seconds(count, 4),
                "reduce": count,
                "reduce_seconds": link.reduce_seconds(count, 4),
            }
        )
    file = tmp_path / "node.json"
    file.write_text(json.dumps({"nodes": 1, "ranks": 4, "messages": rows}))
    measured = network(("25GB/s,2us", str(file)))
    assert measured.between.broadcast == 25e9
    for name in ("latency", "broadcast", "reduce"):
        assert getattr(measured.within, name) == pytest.approx(getattr(link, name), rel=0.01)


@pytest.mark.parametrize("text", ["25GB", "fast", "0GB/s,2us", "1.2.3GB/s,2us", "/no/such/file"])
def test_a_network_that_is_none_is_told_in_one_line(text):
    with pytest.raises(BadInput, match="--network: expected a bandwidth and a latency"):
        network((text,))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(tomli_w.dumps(SMALL))
    return str(path)


def test_a_plan_for_a_cluster_says_how_long_and_what_limits(path):
    words = ["--nodes", "4", "--ranks-per-node", "3", "--network", "25GB/s,2us", "--cores", "8"]
    result = CliRunner().invoke(main, ["plan", path, *words])
    assert result.exit_code == 0, result.output
    assert "a round on 4 nodes of 3 ranks each: 12 in all" in result.output
    below = result.output.split("on fewer nodes")[1].split("Assumed")[0]
    rows = [line.split()[:2] for line in below.splitlines()]
    by_nodes = [row for row in rows if row and row[0].isdigit()]
    assert by_nodes == [["1", "3"], ["2", "6"], ["4", "12"]]
    assert "a node of 3 ranks" in result.output
    assert "5 of 11 workers never train" in result.output
    assert max(map(len, result.output.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (["--nodes", "2"], "--nodes: expected it with --ranks-per-node; got none"),
        (
            ["--nodes", "100000", "--ranks-per-node", "1000"],
            "--nodes: expected at most 1,000,000 ranks; got 100,000,000",
        ),
        (["--cores", "2"], "--cores: expected it with --nodes; got no --nodes"),
        (["--nodes", "2", "--ranks-per-node", "2", "--ranks", "3"], "without --ranks"),
        (["--nodes", "2", "--ranks-per-node", "2", "--no-timing"], "needs measured steps"),
    ],
)
def test_options_that_do_not_go_together_are_refused(path, words, mistake):
    result = CliRunner().invoke(main, ["plan", path, *words])
    assert result.exit_code == 2
    assert mistake in result.stderr and result.stderr.count("\n") == 1
