"""Arguments and options that several commands have."""

from __future__ import annotations

import click

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""click's context settings of every command"""

ASSIGNMENTS = click.argument("assignments", nargs=-1, metavar="[key.path=value]...")
