"""The command line: puts the commands of mpifl/commands/ together."""

from __future__ import annotations

import click

from mpifl import __version__
from mpifl.commands.arguments import HELP
from mpifl.commands.configs import configs
from mpifl.commands.curvature import curvature
from mpifl.commands.curves import curves
from mpifl.commands.data import data
from mpifl.commands.doctor import doctor
from mpifl.commands.explain import explain
from mpifl.commands.export import export
from mpifl.commands.features import features
from mpifl.commands.finetune import finetune
from mpifl.commands.hessian import hessian
from mpifl.commands.jobs import jobs
from mpifl.commands.landscape import landscape
from mpifl.commands.note import note
from mpifl.commands.pack import pack
from mpifl.commands.plan import plan
from mpifl.commands.report import report
from mpifl.commands.reseal import reseal
from mpifl.commands.run import run
from mpifl.commands.schema import schema
from mpifl.commands.sections import Sections
from mpifl.commands.show import show
from mpifl.commands.sweep import sweep
from mpifl.commands.table import table
from mpifl.commands.watch import watch

_EPILOG = """
Exit codes: 0 done; 1 an unforeseen error (its traceback names rank, round and client), a lost rank,
a GPU out of memory or a full disk; 2 bad input; 3 training diverged; 4 another process took over
the run's folder; 75 stopped by SIGTERM, SIGUSR1 or Ctrl-C, with a checkpoint from which --resume
continues; 130 stopped by Ctrl-C before the first round, or while another command works.

\b
Completion with TAB, for bash, in ~/.bashrc (also zsh_source, fish_source):
  eval "$(_MPIFL_COMPLETE=bash_source mpifl)"
"""


@click.group(cls=Sections, context_settings=HELP, epilog=_EPILOG)
@click.version_option(__version__, prog_name="mpifl")
def main() -> None:
    """Simulate federated learning on one MPI rank or many. Each run writes one HDF5 folder.

    \b
    mpirun -n 3 mpifl run configs/demo.toml     a run on three ranks: a server and two workers
    mpifl run configs/demo.toml rounds=3        the same on one rank, with another option
    mpifl show runs/demo                        its results
    mpifl COMMAND --help                        examples of a command, and what it writes
    """


main.add_section("Run", run, sweep, watch)
main.add_section("Before a run", configs, explain, plan, schema)
main.add_section(
    "After a run",
    show,
    report,
    table,
    curves,
    features,
    finetune,
    hessian,
    curvature,
    landscape,
)
main.add_section("A run's files", note, pack, export, reseal)
main.add_section("Data", data)
main.add_section("Cluster", doctor, jobs)
