"""`python analysis/hessian.py RUN`: how flat are the models of a run, and do its clients agree."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

QUANTITIES = "objective eigenvalues diagonal sharpness spectrum layers gauss_newton"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("run")
@click.option(
    "--rounds",
    default="last",
    show_default=True,
    help="Stored rounds: last, best, all, or such as 10,20.",
)
@click.option(
    "--clients",
    is_flag=True,
    help="Also the clients' models stored at these rounds; then H_N and H_D.",
)
@click.option(
    "--protocol", type=click.Choice(["exact", "fedalign"]), default="exact", show_default=True
)
@click.option(
    "--name",
    default="",
    help="What the measurement is called in hessian.h5 [default: the protocol].",
)
@click.option(
    "--quantities", default="", help=f"Some of {QUANTITIES}, with commas [default: see above]."
)
@click.option(
    "--samples",
    type=int,
    help="How many training samples, class-stratified; 0: all [default: 1000].",
)
@click.option(
    "--data",
    type=click.Choice(["own", "global"]),
    help="Whose samples clients' models see [default: own].",
)
@click.option(
    "--split", type=click.Choice(["train", "test"]), help="Of the data set [default: train]."
)
@click.option("--top", type=int, help="How many of the largest eigenvalues [default: 10].")
@click.option("--probes", type=int, help="At most, for the trace and the diagonal [default: 100].")
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other option, such as tolerance=0.01.",
)
@click.option(
    "--seed", type=int, help="Of the choice of samples and of all random probes [default: 0]."
)
@click.option(
    "--precision", type=click.Choice(["float32", "float64"]), default="float32", show_default=True
)
@click.option(
    "--data-path", default="", help="The packed data set, where it has moved since the run."
)
@click.option("--again", is_flag=True, help="Forget what this measurement found before.")
@click.option("--unfinished", is_flag=True, help="Also look at a run that is still being written.")
def main(run: str, **options: Any) -> None:
    """Measure the Hessians of RUN's stored models: its folder, its results.h5 or a packed file.

    \b
    python analysis/hessian.py runs/demo                          the last global model
    python analysis/hessian.py runs/demo --rounds all --clients   every stored model, and how clients differ
    mpirun -n 4 python analysis/hessian.py runs/demo --clients    the samples shared out over four ranks
    python analysis/hessian.py runs/demo --protocol fedalign --clients   as FedAlign's released code computes it

    Found are, of the mean cross-entropy over fixed samples, in evaluation mode and without augmentation: the 10 largest
    eigenvalues and the smallest (lambda_max, by Lanczos), the trace (H_T) and the diagonal, and of global models also
    sharpness, spectral density and each layer's largest eigenvalue. With --clients, H_N and H_D: how far the clients'
    diagonals differ in norm and direction. Each comes with its error. Clients' weights are stored by runs with
    results.clients_every > 0; what they are asked for can be widened by --quantities.

    Results go to RUN/hessian.h5, one by one: when stopped, start it again and it goes on. The run's own files are never
    written. analysis/README.md shows how to read it. Exit codes: 0 done, 1 an unforeseen error, 2 bad input.
    """
    from mpifl.runner.exit_codes import on_all_ranks

    sys.exit(on_all_ranks(lambda communicator: _measure(communicator, run, options)))


def _measure(communicator: Any, path: str, options: dict[str, Any]) -> int:
    from mpifl.analysis.hessian.survey import Survey
    from mpifl.analysis.models.reload_mpi import Shared, rounds_named
    from mpifl.store import Run

    protocol = communicator.agree(lambda: _protocol(options))
    run = communicator.agree(lambda: Run.open(path))
    rounds = communicator.agree(lambda: rounds_named(run, options["rounds"], options["clients"]))
    given = {name: options[name] for name in ("unfinished", "precision")}
    shared = Shared(run, communicator, path=options["data_path"], **given)
    subjects = shared.subjects(rounds, options["clients"])
    survey = Survey(shared, protocol, options["name"], options["again"])
    tasks = survey.tasks(subjects, [q for q in options["quantities"].split(",") if q])
    with _progress(survey, tasks) as report:
        survey.measure(tasks, report)
        survey.compare(subjects, report)
    if communicator.is_server:
        _conclude(survey)
    return 0


def _protocol(options: dict[str, Any]) -> Any:
    """The protocol's checked options."""
    from mpifl.analysis.hessian.protocols import PROTOCOLS
    from mpifl.config import build, override

    names = ("samples", "data", "split", "top", "probes", "seed")
    given = {name: options[name] for name in names if options[name] is not None}
    return build(
        PROTOCOLS[options["protocol"]], override(given, options["given"]), {}, options["protocol"]
    )


@contextmanager
def _progress(survey: Any, tasks: Sequence[Any]) -> Iterator[Any]:
    """Say what it will take; then a bar over products in a terminal, and a line for each finding.
    Gives the report.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    cost = survey.cost(tasks) if tasks else None  # on all ranks
    if not survey.communicator.is_server:
        yield lambda label, finding: None
        return
    console = Console(width=100, color_system=None, highlight=False)
    console.print(_announced(survey, tasks, cost), soft_wrap=True)
    bar = MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    # under mpirun all is a terminal
    hidden = not (sys.stdout.isatty() and survey.communicator.size == 1)
    with Progress(*bar, console=console, transient=True, disable=hidden) as progress:
        line = progress.add_task("products", total=int(cost.products) if cost else 0)
        survey.watch = lambda products: progress.advance(line, products)
        yield lambda label, finding: console.print(f"{label:32} {_told(finding)}", soft_wrap=True)


def _announced(survey: Any, tasks: Sequence[Any], cost: Any) -> str:
    """What is to be done, and what it will take."""
    if not tasks:
        return f"{survey.shared.run.path}: all is known of {survey.name!r} already"
    models, ranks = len({task.subject.path for task in tasks}), survey.communicator.size
    minutes = f"{cost.seconds / 60:.0f} min" if cost.seconds > 90 else f"{cost.seconds:.0f} s"
    where = f"{models} model{'s'[: models > 1]} on {ranks} rank{'s'[: ranks > 1]}"
    work = (
        f"about {cost.products:,.0f} products, {minutes}, {cost.memory.total / 1e6:,.0f} MB a rank"
    )
    return f"{survey.shared.run.path}: {survey.name}, {len(tasks)} finding{'s'[: len(tasks) > 1]} about {where}: {work}"


def _told(finding: Any) -> str:
    """The first numbers of a finding."""
    import numpy as np

    if "problem" in finding.facts:
        return f"not compared: {finding.facts['problem']}"
    if "nodes" in finding.arrays:
        below = (finding["weights"] * (finding["nodes"] < 0)).sum() / len(finding["nodes"])
        return f"eigenvalues below 0: {below:.1%}"
    if "layer" in finding.arrays and "value" in finding.arrays:
        largest = int(finding["value"].argmax())
        return f"largest {finding['value'][largest]:.5g}, of {finding['layer'][largest]}"
    shown = ("loss", "accuracy", "values", "smallest", "trace", "norm", "value", "H_N", "H_D")
    words = []
    for name in shown:
        if name in finding.arrays and np.asarray(finding[name]).dtype.kind == "f":
            error = finding.arrays.get({"values": "errors"}.get(name, f"{name}_error"))
            first = float(np.ravel(finding[name])[0])
            words.append(
                f"{name} {first:.5g}"
                + (f" ± {float(np.ravel(error)[0]):.2g}" if error is not None else "")
            )
    return "  ".join(words)


def _conclude(survey: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from mpifl.analysis.hessian.metrics import GLOBAL, disagreements, metrics

    heads = "round", "model", "loss", "accuracy", "λ_max", "λ_min", "H_T", "±", "‖diag H‖"
    table = Table(*heads, title=f"{survey.shared.run.path}, {survey.name}", title_justify="left")
    for row in metrics(survey.findings, survey.name):
        model = "global" if row.client == GLOBAL else f"client {row.client}"
        figures = (
            row.loss,
            row.accuracy,
            row.lambda_max,
            row.lambda_min,
            row.H_T,
            row.H_T_error,
            row.diagonal_norm,
        )
        table.add_row(
            str(row.round), model, *("" if math.isnan(f) else f"{f:.4g}" for f in figures)
        )
    console = Console(width=100, color_system=None, highlight=False)
    console.print(table)
    for row in disagreements(survey.findings, survey.name):
        between = (
            f"H_N {row.H_N:.5g} ± {row.H_N_error:.2g}  H_D {row.H_D:.4f} ± {row.H_D_error:.2g}"
        )
        between = between.replace(" ± nan", "")
        console.print(f"round {row.round}, between clients: {between}")
    console.print(f"written to {survey.findings.file}", soft_wrap=True)


if __name__ == "__main__":
    main()
