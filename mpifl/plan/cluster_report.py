"""`mpifl plan --nodes`: print what a run takes on a cluster, and where more nodes stop paying."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mpifl.plan import cost
from mpifl.plan.cluster import Cluster, Forecast, fewer_nodes, forecast, last_that_pays
from mpifl.plan.dry_run import DryRun
from mpifl.plan.network import described
from mpifl.plan.profile import Profile
from mpifl.plan.time_report import note_of_lanes
from mpifl.runner.idle_workers import idle_workers
from mpifl.terminal import (
    duration,
    facts,
    plural,
    say_paragraph,
    say_table,
    short_time,
    size,
    table,
)

_REMEDIES = {
    "compute": "more ranks, as long as a round has clients for them",
    "longest client": "more even clients, or fewer steps (local.epochs) of the longest; more ranks "
    "do not help",
    "Bcast": "a faster network, a smaller model, or fewer rounds of more local steps",
    "Reduce": "a faster network, a smaller model, or fewer rounds of more local steps",
    "server": "a simpler server optimizer, or a smaller model",
    "test": 'a larger evaluation.every, or evaluation.where = "auto"',
}
"""what shortens a round, by what takes the most of it"""


def show_cluster(planned: DryRun, measured: Profile, cluster: Cluster) -> None:
    """Print the parts of a round on `cluster`, then rounds on fewer nodes, then notes."""
    forecasts = []
    for nodes in fewer_nodes(cluster.nodes):
        forecasts.append(forecast(planned, measured, replace(cluster, nodes=nodes)))
    _parts(planned, cluster, forecasts[-1])
    if cluster.nodes > 1:
        _by_nodes(planned, forecasts)
    for note in _notes(planned, measured, cluster, forecasts):
        say_paragraph(note)


def _parts(planned: DryRun, cluster: Cluster, found: Forecast) -> None:
    traffic = cost.traffic(planned, cost.loads(planned, [1])[0].cohort)
    hops = cluster.nodes - 1
    between = hops * (traffic.broadcast + traffic.reduce)
    made = facts()
    made.add_row("Bcast of the model", f"{short_time(found.broadcast)}, {size(traffic.broadcast)}")
    made.add_row(
        "training, the rank that ends last",
        f"{short_time(found.training)}, on average {found.clients:.3g} of a round's clients",
    )
    made.add_row("waiting for tests, on average", short_time(found.waiting))
    made.add_row(
        "Reduce of the replies", f"{short_time(found.reduce)}, {size(traffic.reduce)} a rank"
    )
    made.add_row("the server alone", short_time(found.server))
    made.add_row("a round", f"{short_time(found.round)}; {_of_run(planned, found)} in all")
    made.add_row("between nodes", f"{size(between)} a round")
    made.add_row(
        "efficiency",
        f"{_percent(found.efficiency)}: one rank would take {short_time(found.alone)} a round",
    )
    made.add_row("most of it is", f"{found.limit}; shorter by {_REMEDIES[found.limit]}")
    nodes = plural(cluster.nodes, "node")
    ranks = plural(cluster.ranks_per_node, "rank")
    say_table(f"a round on {nodes} of {ranks} each: {cluster.ranks} in all", made)


def _by_nodes(planned: DryRun, forecasts: list[Forecast]) -> None:
    made = table("nodes", "ranks", "its clients", "a round", "all rounds", "efficiency", "limit")
    for found in forecasts:
        made.add_row(
            str(found.nodes),
            str(found.ranks),
            f"{found.clients:.3g}",
            short_time(found.round),
            _of_run(planned, found),
            _percent(found.efficiency),
            found.limit,
        )
    say_table("on fewer nodes; and the rank that ends last", made)


def _notes(
    planned: DryRun, measured: Profile, cluster: Cluster, forecasts: list[Forecast]
) -> Iterator[str]:
    last = last_that_pays(forecasts)
    if last is not None:
        nodes = plural(last.nodes, "node")
        yield f"Beyond {nodes}, twice as many shorten a round by less than 10 %."
    idle = idle_workers(planned.config, cluster.ranks)
    if idle is not None:
        yield f"With {cluster.ranks} ranks, {idle}."
    yield from note_of_lanes(planned)
    cores = "a core for each thread of each rank"
    if cluster.cores:
        cores = f"{plural(cluster.cores, 'core')} a node, which its ranks share"
    yield (
        f"Assumed: steps take as long there as here ({short_time(measured.step)} a step of "
        f"{measured.batch} samples, {short_time(measured.client)} a client beside them); {cores}; "
        "rank 0 on the first node; ranks of a node do not slow each other's memory; files take "
        "nothing."
    )
    network = cluster.network
    yield (
        f"Network: {network.source}. Between nodes {described(network.between)}, within one "
        f"{described(network.within)} (Bcast)."
    )


def _of_run(planned: DryRun, found: Forecast) -> str:
    return duration(found.round * planned.config.rounds)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
