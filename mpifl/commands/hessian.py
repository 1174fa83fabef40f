"""`mpifl hessian`: the curvature of a run's stored models."""

from __future__ import annotations

import sys
from typing import Any

import click

from mpifl.commands.arguments import DATA_PATH, HELP, PLUGINS_OF_RUN, UNFINISHED
from mpifl.commands.process import imports_for_ranks

QUANTITIES = "objective, eigenvalues, diagonal, sharpness, spectrum, layers, gauss_newton, flatness"


@click.command(context_settings=HELP)
@click.argument("run")
@click.option(
    "--rounds",
    help="Stored rounds: last, best, all, or numbers such as 10,20 "
    "[default: last; with --follow all].",
)
@click.option(
    "--clients",
    is_flag=True,
    help="Also the clients' models stored at these rounds; then H_N and H_D.",
)
@click.option(
    "--average",
    is_flag=True,
    help="Also the average of the server's models (EMA, SWA) stored at these rounds.",
)
@click.option(
    "--local-against-global",
    is_flag=True,
    help="Compare the clients' models stored at these rounds with the global one: see above.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Measure while the run goes on, each round once it is stored; end soon after the run.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="With --follow: a run that has written nothing for so long counts as ended [default: 60].",
)
@click.option(
    "--protocol",
    type=click.Choice(["exact", "fedalign"]),
    default="exact",
    show_default=True,
    help="By definition, or as FedAlign's released code computes it.",
)
@click.option(
    "--name", default="", help="The measurement's name in hessian.h5 [default: the protocol]."
)
@click.option(
    "--quantities",
    default="",
    metavar="NAME,...",
    help=f"Some of {QUANTITIES} (fedalign: eigenvalues, trace) "
    "[default: all but flatness; of clients the first three].",
)
@click.option(
    "--samples",
    type=int,
    help="How many training samples, class-stratified; 0: all [default: 1000].",
)
@click.option(
    "--data",
    type=click.Choice(["own", "global"]),
    help="Samples for clients' models: their own, or everybody's [default: own].",
)
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    help="Measure on training samples or on test samples [default: train].",
)
@click.option("--top", type=int, help="How many of the largest eigenvalues [default: 10].")
@click.option(
    "--probes", type=int, help="Random probes at most, for trace and diagonal [default: 100]."
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other option of the protocol, such as tolerance=0.01.",
)
@click.option(
    "--seed", type=int, help="Of the choice of samples and of all random probes [default: 0]."
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Of all arithmetic.",
)
@DATA_PATH
@PLUGINS_OF_RUN
@click.option(
    "--again", is_flag=True, help="Delete what this measurement has found, and start anew."
)
@UNFINISHED
def hessian(run: str, **options: Any) -> None:
    """Measure the Hessians of the stored models of RUN.

    RUN is a folder, a results.h5 or a packed file.

    \b
    mpifl hessian runs/demo                          the last global model
    mpifl hessian runs/demo --rounds all --clients   every stored model, and how clients differ
    mpirun -n 4 mpifl hessian runs/demo --clients    the samples shared out over four ranks
    mpifl hessian runs/demo --average                the global model, and the EMA or SWA of all
    mpifl hessian runs/demo --clients --protocol fedalign
    mpifl hessian runs/demo --rounds all --follow &  beside `mpirun ... mpifl run`, even before it
    mpifl hessian runs/demo --local-against-global   the clients' models against the global one

    The Hessian is that of the mean cross-entropy over fixed samples, in evaluation mode and without
    augmentation. Measured are the 10 largest eigenvalues (lambda_max) and the smallest, the trace
    (H_T) and the diagonal; of global models also the sharpness, the spectral density and each
    layer's largest eigenvalue. With --clients, H_N and H_D: how far the clients' diagonals differ
    in norm and in direction. What is estimated comes with its error.

    --local-against-global measures lambda_max, trace and SAM's sharpness of each stored client's
    model on its own samples and on those of all clients, and of the global model on each client's
    samples and on all; then distances, averaging gain, barriers, inconsistency and flatness gap.
    It prints them as one table; `mpifl curvature RUN --local-against-global` prints and draws them.

    --follow waits for a run that has not begun, and for each next round, by looking at the run's
    files. It stores what the same command without it stores. It says how the run ended: complete,
    failed (exit code 0), stopped or dead (75; if the run is resumed, the same command goes on).

    Results are written to RUN/hessian.h5 one by one. After a stop, the same command continues. No
    other file of the run is changed. `mpifl table` and `curvature` show the results;
    docs/curvature.md reads them in Python. Exit codes: 0 done, 1 an unforeseen error, 2 bad input.
    """
    with imports_for_ranks():
        from mpifl.analysis.hessian import session

    sys.exit(session.main(run, options))
