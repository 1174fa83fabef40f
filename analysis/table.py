"""The same as `mpifl table`: python analysis/table.py --help."""

from mpifl.commands.table import table

table()
