"""The same as `mpifl landscape`: python analysis/landscape.py --help."""

from mpifl.commands.landscape import landscape

landscape()
