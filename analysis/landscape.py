"""The same as `mpifl landscape`: python analysis/landscape.py --help."""

import environment  # noqa: F401  # must be first

from mpifl.commands.landscape import landscape

landscape()
