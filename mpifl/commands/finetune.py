"""`mpifl finetune`: fine-tune a run's stored model on each client's own samples (FedAvg + FT)."""

from __future__ import annotations

import sys
from typing import Any

import click

from mpifl.commands.arguments import DATA_PATH, HELP, PLUGINS_OF_RUN, UNFINISHED
from mpifl.commands.process import imports_for_ranks


@click.command(
    context_settings=HELP, short_help="Fine-tune a stored model on each client's samples."
)
@click.argument("run")
@click.option(
    "--rounds",
    default="last",
    show_default=True,
    help="Stored rounds: last, best, all, or numbers such as 10,20.",
)
@click.option(
    "--epochs",
    type=int,
    default=5,
    show_default=True,
    help="Passes over each client's training samples.",
)
@click.option(
    "--lr",
    type=float,
    default=0.0,
    metavar="LR",
    help="Learning rate [default: the run's in the round whose model it is].",
)
@click.option(
    "--part",
    type=click.Choice(["all", "head"]),
    default="all",
    show_default=True,
    help="Which weights move: all, or those of the layer that makes the logits.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other option of [local], such as loss=ce or batch=16 [default: the run's].",
)
@click.option(
    "--name",
    default="finetune",
    show_default=True,
    help="The measurement's name in hessian.h5; one for each choice of options.",
)
@DATA_PATH
@PLUGINS_OF_RUN
@click.option("--again", is_flag=True, help="Delete what has this name, and start anew.")
@UNFINISHED
def finetune(run: str, **options: Any) -> None:
    """Fine-tune the stored model of RUN on each client's own samples, and test it.

    RUN is a folder, a results.h5 or a packed file.

    \b
    mpifl finetune runs/demo                              5 epochs of all weights
    mpifl finetune runs/demo --part head --name head      only the last layer
    mpirun -n 4 mpifl finetune runs/demo --lr 0.01 --name slow

    Each client begins at the global model, with momentum zero. Printed are accuracies before and
    after, of all clients and of the tenth with the lowest: on the clients' own test sets (own set;
    runs with holdout.ratio), on the test set with the classes as frequent as the client has them
    (own classes), and on the test set as it is (whole set), which shows what was forgotten; and how
    many clients became worse. Clients that never trained in the run (holdout.clients) have rows of
    their own: they are fine-tuned on the same share of their samples. With BatchNorm, clients of
    one sample are left out.

    The counts of each client are written to RUN/hessian.h5. The same command again shows them.
    No other file of the run is changed. Exit codes: 0 done, 1 an unforeseen error, 2 bad input.
    """
    with imports_for_ranks():
        from mpifl.analysis.fine_tuning import session

    sys.exit(session.main(run, {**options, "changes": list(options["changes"])}))
