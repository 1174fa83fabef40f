"""The command line: `mpifl run`, `plan`, `sweep`, `data`, `show`, `pack`, `doctor`.

Heavy imports stand inside the commands, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
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

    Exit codes: 0 done, 1 an unforeseen error (its traceback names rank, round and client), 2 bad input, 3 diverged,
    4 another process took the run's folder over, 75 stopped by SIGTERM, SIGUSR1 or Ctrl-C with a checkpoint, from
    which --resume goes on.
    """


@main.command()
@click.argument("config")
@ASSIGNMENTS
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run's folder [default: runs/NAME]."
)
@click.option("--resume", is_flag=True, help="Go on where the run in the folder was stopped.")
@click.option("--force", is_flag=True, help="Replace a run that is in the folder already.")
def run(
    config: str, assignments: tuple[str, ...], out: Path | None, resume: bool, force: bool
) -> None:
    """Run CONFIG: a TOML file, or a finished run (folder or file), whose config is stored in it.

    Overrides are TOML: rounds=5, local.lr=0.1, model=resnet56, partition.alpha=0.1,
    local.loss="ce(smoothing=0.1)".
    """
    with importing():
        from mpifl.runner import session

    sys.exit(session.main(config, assignments, out, resume=resume, force=force))


@main.command()
@click.argument("config")
@ASSIGNMENTS
@click.option(
    "--ranks",
    type=click.IntRange(1),
    help="How many MPI ranks to plan for [default: a range of them].",
)
@click.option(
    "--no-timing", is_flag=True, help="Do not measure a few steps here: no estimate of the time."
)
def plan(config: str, assignments: tuple[str, ...], ranks: int | None, no_timing: bool) -> None:
    """Say what a run of CONFIG would be and cost: its options, partition, messages, memory and
    time.

    Nothing is written and no MPI is needed. What is wrong with the config is said as `run` would
    say it.
    """
    with exit_code():
        from mpifl.plan.report import plan

        plan(config, assignments, ranks, not no_timing)


@main.command()
@click.argument("run")
@click.option(
    "--config", is_flag=True, help="Print the stored config too: every option that the run had."
)
@click.option(
    "--status", is_flag=True, help="Print one word only: running, complete, stopped or failed."
)
def show(run: str, config: bool, status: bool) -> None:
    """Summarise RUN: its folder, its results.h5, or a packed file."""
    with exit_code():
        from mpifl.commands.show import show as render
        from mpifl.store import Run

        opened = Run.open(run)
        click.echo(opened.status) if status else render(opened, config=config)


@main.command()
@click.argument("run")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The file to write."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def pack(run: str, out: Path, force: bool) -> None:
    """Make one self-contained file of RUN, to send to somebody; all that reads a run reads it too."""
    with exit_code():
        from mpifl.store import pack as packed

        click.echo(f"written to {packed(run, out, force)}")


@main.command()
@click.argument("name", required=False)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write [default: data/NAME.h5].",
)
@click.option(
    "--root", type=click.Path(path_type=Path), help="Where the source's files are [default: data]."
)
@click.option("--download", is_flag=True, help="Let torchvision fetch them into --root first.")
@click.option(
    "--option",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the source, such as size=64.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def data(
    name: str | None,
    out: Path | None,
    root: Path | None,
    download: bool,
    given: tuple[str, ...],
    force: bool,
) -> None:
    """Pack the data set NAME into one HDF5 file, once, for all runs.

    Without NAME it says which data sets there are.
    """
    with exit_code():
        from mpifl.commands.data import list_sources, pack_source

        if name is None:
            list_sources()
            return
        pack_source(name, out or Path("data") / f"{name}.h5", root, download, given, force)


@main.command()
@click.argument("config", required=False)
@ASSIGNMENTS
@click.option(
    "--mb",
    type=click.FloatRange(1e-5),
    default=4,
    show_default=True,
    help="The largest message, in MB.",
)
def doctor(config: str | None, assignments: tuple[str, ...], mb: float) -> None:
    """Examine the job: are the ranks one job, where does each run, how fast do messages travel.

    Start it as you would start a run: mpirun -n 3 mpifl doctor. With CONFIG also at the size of its
    model. It exits with 2 when the launcher and the MPI library do not belong together.
    """
    with importing(mpi=False):
        from mpifl.commands import doctor

    sys.exit(doctor.main(config, assignments, mb))


@main.command()
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option(
    "--task",
    type=click.IntRange(0),
    metavar="N",
    help="Run number N, go on with it, or find it done.",
)
@click.option(
    "--missing",
    is_flag=True,
    help="Print the numbers of runs that are not done, as an array range.",
)
@click.option(
    "--list",
    "listed",
    is_flag=True,
    help="Print number, state and folder between tabs; with --task of one.",
)
def sweep(sweep: Path, task: int | None, missing: bool, listed: bool) -> None:
    """List the runs of SWEEP, a grid in a TOML file, as done, partial or missing; or run one of them.

    \b
    base = "demo.toml"                 a config or a list of them, from the sweep file's folder
    out = "runs/digits"                where each run gets a folder, named by what differs [default: runs/SWEEP]
    [cases.method.fedavg]              options that vary together, under names of your own
    algorithm = "fedavg"
    [cases.method.feddyn]
    algorithm = { name = "feddyn", alpha = 0.01 }
    [grid]                             options that vary each by itself; every combination is a run
    seed = [1, 2, 3]

    \b
    mpifl sweep grid.toml                              a table of its runs
    mpirun -n 3 mpifl sweep grid.toml --task 0         one of them; the same again goes on, or does nothing
    sbatch --array=$(mpifl sweep grid.toml --missing) jobs/sweep.sbatch grid.toml
    """
    if task is not None and not (listed or missing):
        with importing():
            from mpifl.sweep import task as tasks

        sys.exit(tasks.main(sweep, task))
    with exit_code():
        from mpifl.options import BadInput
        from mpifl.sweep import status as sweeps

        if missing and (listed or task is not None):
            raise BadInput("command line: expected --missing alone; got it with --list or --task")
        if listed:
            sweeps.lines(sweep, task)
        else:
            sweeps.missing(sweep) if missing else sweeps.overview(sweep)


@contextmanager
def importing(mpi: bool = True) -> Iterator[None]:
    """For imports of all that ranks need; MPI first, so that one which fails ends the others.

    Imports make no garbage: where Python's collector never looks at them, a short run takes a
    quarter less time.
    """
    if mpi:
        import_module("mpifl.parallel.mpi")
    fresh = "torch" not in sys.modules
    gc.disable()
    yield
    if fresh:
        gc.freeze()
    gc.enable()


@contextmanager
def exit_code() -> Iterator[None]:
    """Bad input and a refusing file system end in one line and exit code 2."""
    from mpifl.options import BadInput

    try:
        yield
    except BrokenPipeError:  # as in `mpifl show RUN | head`
        sys.stdout = None
        sys.exit(141)
    except (BadInput, OSError) as error:
        from mpifl.terminal import say

        say(f"mpifl: {error}", error=True)
        sys.exit(2)
