"""Raw configs: TOML files with `extends`, dotted overrides, and old names of options -> one dict.

Nothing here knows which options there are; `runner/schema.py` does. `files.py` reads files,
`overrides.py` lays tables over each other, `older_versions.py` knows what was called otherwise,
`toml_text.py` reads text.
"""

from mpifl.config.files import anchored, expanded, is_file, read
from mpifl.config.older_versions import (
    ADDED,
    LOSS_OPTIONS_ADDED,
    MOST_PERMUTED,
    RENAMED,
    RENAMED_VALUES,
    added,
    first_loss,
    first_name,
    loss_today,
    name_today,
    of_run,
    parse,
    renamed,
)
from mpifl.config.overrides import flat, lay_over, merge, override, quotes_numbers
from mpifl.config.toml_text import toml

__all__ = [
    "ADDED",
    "LOSS_OPTIONS_ADDED",
    "MOST_PERMUTED",
    "RENAMED",
    "RENAMED_VALUES",
    "added",
    "anchored",
    "expanded",
    "first_loss",
    "first_name",
    "flat",
    "is_file",
    "lay_over",
    "loss_today",
    "merge",
    "name_today",
    "of_run",
    "override",
    "parse",
    "quotes_numbers",
    "read",
    "renamed",
    "toml",
]
