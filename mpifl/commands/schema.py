"""`mpifl schema`: what a config may say, for editors."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.commands.arguments import HELP, PLUGINS, load_plugins
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP)
@PLUGINS
def schema(plugins: tuple[Path, ...]) -> None:
    """Print the JSON Schema of a config.

    By it an editor checks a config, completes it and shows what options mean: in VS Code with the
    extension Even Better TOML, after a first line in the config that names the file.

    \b
    mpifl schema > mpifl.schema.json
    mpifl schema --plugin mine.py > mpifl.schema.json    with the names of your plugins
    #:schema ./mpifl.schema.json        the config's first line
    """
    with one_line_errors():
        import json

        from mpifl.runner.schema import json_schema
        from mpifl.terminal import say

        load_plugins(plugins)
        say(json.dumps(json_schema(), indent=2))
