"""The command line: `mpifl run`, `plan`, `data`, `show`, `pack`, `doctor`.

Heavy imports stand inside the commands, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mpifl import __version__

ASSIGNMENTS = click.argument("assignments", nargs=-1, metavar="[key.path=value]...")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mpifl")
def main() -> None:
    """Simulate federated learning on one rank or many, into one HDF5 folder a run.

    \b
    mpirun -n 3 mpifl run configs/demo.toml            a run on three ranks: a server and two workers
    mpifl run configs/demo.toml rounds=3 local.lr=0.1  the same bits on one rank; any option can be overridden
    mpifl plan configs/demo.toml                       what it would do and cost; touches nothing
    mpifl show runs/demo                               what came of it

    Exit codes: 0 done, 1 an unforeseen error (its traceback names rank, round and client), 2 bad input, 3 diverged.
    """


@main.command()
@click.argument("config")
@ASSIGNMENTS
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder [default: runs/NAME].")
@click.option("--resume", is_flag=True, help="Go on where the run in the folder was stopped.")
@click.option("--force", is_flag=True, help="Replace a run that is in the folder already.")
def run(config: str, assignments: tuple[str, ...], out: Path | None, resume: bool, force: bool) -> None:
    """Run CONFIG: a TOML file, or a finished run (folder or file), whose config is stored in it.

    Overrides are TOML: rounds=5, local.lr=0.1, model=resnet56, partition.alpha=0.1, local.loss="ce(smoothing=0.1)".
    """
    from mpifl import session

    sys.exit(session.main(config, assignments, out, force))


if __name__ == "__main__":
    main()
