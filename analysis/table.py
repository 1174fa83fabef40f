"""The same as `mpifl table`: python analysis/table.py --help."""

import environment  # noqa: F401  # must be first

from mpifl.commands.table import table

table()
