"""`python -m mpifl`: the same as the `mpifl` command."""

from mpifl.cli import main

main()
