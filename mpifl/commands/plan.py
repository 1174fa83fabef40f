"""`mpifl plan`: what a run would do and cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpifl.commands.arguments import ASSIGNMENTS, HELP, ConfigCommand, FilePath
from mpifl.commands.process import imports_for_ranks, one_line_errors

if TYPE_CHECKING:
    from mpifl.plan.dry_run import DryRun


@click.command(cls=ConfigCommand, context_settings=HELP)
@click.argument("config")
@ASSIGNMENTS
@click.option(
    "--ranks",
    type=click.IntRange(1),
    help="How many MPI ranks to plan for [default: several numbers].",
)
@click.option(
    "--nodes", type=click.IntRange(1), help="Plan for a cluster of so many nodes; see below."
)
@click.option(
    "--ranks-per-node", type=click.IntRange(1), help="Of --nodes: MPI ranks on each of them."
)
@click.option(
    "--network",
    multiple=True,
    metavar="TEXT|FILE",
    help="Of --nodes: bandwidth and latency between nodes, such as 25GB/s,2us; or what `mpifl "
    "doctor --save FILE` has measured; may be given twice  [default: 10GB/s,2us].",
)
@click.option(
    "--cores",
    type=click.IntRange(1),
    help="Of --nodes: cores of a node, which its ranks share  [default: one for each thread].",
)
@click.option(
    "--no-timing", is_flag=True, help="Measure no training steps: no estimate of the time."
)
@click.option(
    "--config",
    "every_option",
    is_flag=True,
    help="Print every option, not only those that differ from their defaults.",
)
@click.option(
    "--picture",
    type=FilePath(),
    multiple=True,
    metavar="FILE",
    help="Draw the samples of each class at each client: .png, .pdf, .svg, .html or .csv.",
)
def plan(
    config: str,
    assignments: tuple[str, ...],
    ranks: int | None,
    nodes: int | None,
    ranks_per_node: int | None,
    network: tuple[str, ...],
    cores: int | None,
    no_timing: bool,
    every_option: bool,
    picture: tuple[Path, ...],
) -> None:
    """Say what a run of CONFIG would do and cost.

    Printed are the options that differ from their defaults, the partition, messages, memory, and
    the time on several numbers of ranks. Nothing is written, but --picture, and no MPI is needed. A
    mistake in the config is reported as `run` would report it.

    \b
    mpifl plan configs/demo.toml
    mpifl plan configs/demo.toml clients=100 --ranks 9
    mpifl plan configs/demo.toml --no-timing --picture partition.png   who has which classes

    With --nodes it foretells the time of a round on a cluster: from steps measured here, the
    clients that really take part in rounds, dealt to workers as a run deals them, and a model of
    the network. It says what takes the most (compute, longest client, Bcast, Reduce, server, test),
    and where more nodes stop paying. Let it run on a core like those of the cluster.

    \b
    mpifl plan configs/demo.toml --nodes 64 --ranks-per-node 9 --network 25GB/s,2us
    mpirun -n 9 mpifl doctor --save node.json && mpifl plan ... --network node.json
    """
    with one_line_errors():
        _refuse_contradiction(ranks, nodes, ranks_per_node, network, cores, no_timing)
        if picture:
            _check(picture)
        with imports_for_ranks(mpi=False):
            from mpifl.plan.cluster import Cluster
            from mpifl.plan.network import network as links
            from mpifl.plan.report import plan

        cluster = None
        if nodes and ranks_per_node:
            cluster = Cluster(nodes, ranks_per_node, links(network), cores or 0)
        planned = plan(config, assignments, ranks, not no_timing, every_option, cluster)
        if picture:
            _draw(planned, picture)


_MOST_RANKS = 1_000_000
"""of a cluster: a forecast for more takes minutes, and gigabytes"""


def _refuse_contradiction(
    ranks: int | None,
    nodes: int | None,
    ranks_per_node: int | None,
    network: tuple[str, ...],
    cores: int | None,
    no_timing: bool,
) -> None:
    """Raise BadInput for options that do not go together."""
    from mpifl.options import BadInput

    if nodes is None:
        given = {"--ranks-per-node": ranks_per_node, "--network": network, "--cores": cores}
        for name, value in given.items():
            if value:
                raise BadInput(f"{name}: expected it with --nodes; got no --nodes")
        return
    if ranks_per_node is None:
        raise BadInput("--nodes: expected it with --ranks-per-node; got none")
    if ranks is not None:
        raise BadInput("--nodes: expected it without --ranks, which follows from it; got both")
    if nodes * ranks_per_node > _MOST_RANKS:
        raise BadInput(
            f"--nodes: expected at most {_MOST_RANKS:,} ranks; got {nodes * ranks_per_node:,}"
        )
    if no_timing:
        raise BadInput(
            "--nodes: expected it without --no-timing: it needs measured steps; got both"
        )


def _check(picture: tuple[Path, ...]) -> None:
    """Raise BadInput for files that cannot be drawn."""
    from mpifl.analysis.figures import check_installed
    from mpifl.analysis.figures.saving import KINDS
    from mpifl.analysis.files import check_suffixes

    check_suffixes(picture, KINDS)
    check_installed(path.suffix.removeprefix(".") for path in picture)


def _draw(planned: DryRun, picture: tuple[Path, ...]) -> None:
    from mpifl.analysis.figures.saving import save
    from mpifl.analysis.runs.partition_pictures import partition_map

    for path in picture:
        drawn = partition_map(planned.clients.counts(), planned.config.name)
        save(path, [drawn], f"partition of {planned.config.name}")
