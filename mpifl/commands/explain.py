"""`mpifl explain`: what a section, an option, a name or a value of a config means."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.commands.arguments import HELP, PLUGINS, load_plugins
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP, short_help="Say what a section, option or name means.")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@PLUGINS
def explain(words: tuple[str, ...], plugins: tuple[Path, ...]) -> None:
    """Say what WORD means in a config: a section, an option, a name or a value.

    Printed are options with their defaults, what is allowed, and what they do; of a method also its
    paper and formulas. Without WORD it lists all sections and names.

    \b
    mpifl explain
    mpifl explain local            a section
    mpifl explain lr results.weights_every
    mpifl explain feddyn man       an algorithm, a loss, a model, a partition ...
    mpifl explain weight           the options that have this value, such as model.norm
    mpifl explain --plugin mine.py confidence
    """
    with one_line_errors():
        from mpifl.plan.explain import explain

        load_plugins(plugins)
        explain(words)
