"""Arguments and options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mpifl.analysis.runs.groups import Group

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""click's context settings of every command"""

ASSIGNMENTS = click.argument("assignments", nargs=-1, metavar="[key.path=value]...")


BAND = click.option(
    "--band",
    type=click.Choice(["std", "sem", "range", "none"]),
    default="std",
    show_default=True,
    help="std: standard deviation; sem: standard error of the mean; "
    "range: least to greatest; none.",
)
TITLE = click.option("--title", default="", help="Of the HTML page [default: the groups' names].")


class FilePath(click.Path):
    """A Path. A `~` that the shell has left, as in `--out=~/runs/x`, is the home folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The Path of a command line's text."""
        return super().convert(os.path.expanduser(value), param, ctx)


class ConfigCommand(click.Command):
    """A command with `ASSIGNMENTS`: where `--rounds 3` is given, it suggests `rounds=3`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises click's UsageError."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            assignment = _meant(error.option_name, given)
            if not assignment:
                raise
            raise click.UsageError(
                f"No such option: {error.option_name}. Options of the config are given as "
                f"{assignment}",
                ctx,
            ) from None


def _meant(flag: str, given: Sequence[str]) -> str:
    """The assignment that a flag stands for; empty if the config has no such option."""
    from mpifl.options import nested_names
    from mpifl.runner.schema import Config

    word = flag.removeprefix("--").replace("-", "_")
    names = [name for name in nested_names(Config) if f".{name}".endswith(f".{word}")]
    if not names:
        return ""
    name = min(names, key=lambda name: name.count("."))
    following = ""
    for argument, after in zip(given, [*given[1:], ""], strict=True):
        if argument == flag and not after.startswith("-"):
            following = after
        elif argument.startswith(f"{flag}="):
            following = argument.partition("=")[2]
    return f"{name}={following or 'VALUE'}"


RUNS = click.argument("runs", nargs=-1)
BY = click.option("--by", default="", metavar="KEY,KEY", help="Group by these options alone.")
LABELS = click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="TEXT",
    help="What to call a group; once for each group.",
)
DATA_PATH = click.option(
    "--data-path", default="", help="The packed data set, if it has moved since the run."
)
PLUGINS = click.option(
    "--plugin",
    "plugins",
    type=FilePath(),
    multiple=True,
    metavar="FILE",
    help="A plugin to load; may be given several times.",
)
PLUGINS_OF_RUN = click.option(
    "--plugin",
    "plugins",
    type=FilePath(),
    multiple=True,
    metavar="FILE",
    help="A plugin of the run, if you have not trained with it; may be given several times.",
)
UNFINISHED = click.option(
    "--unfinished", is_flag=True, help="Accept a run that is still being written."
)


def load_plugins(files: Sequence[Path]) -> None:
    """Make known what these files and installed packages register. Raises BadInput."""
    from importlib.metadata import entry_points

    if files or entry_points(group="mpifl.plugins"):
        from mpifl.runner.plugins import use_files  # brings torch, which takes seconds

        use_files(files)


def split(text: str) -> list[str]:
    """The names in a list with commas.

    >>> split("loss, accuracy,")
    ['loss', 'accuracy']
    """
    names = [name.strip() for name in text.split(",")]
    return [name for name in names if name]


def open_groups(
    runs: Sequence[str],
    by: str,
    labels: Sequence[str],
    quantities: Sequence[str] = (),
    over_domains: bool = False,
) -> list[Group]:
    """The runs among these paths as groups; prints to stderr what each is. Raises BadInput.

    Runs that have just begun, and have none of `quantities` yet, are passed over. With
    `over_domains`, runs that differ in the domains left out are one group.
    """
    from mpifl.analysis.runs.groups import group, open_runs
    from mpifl.analysis.runs.listing import only_runs
    from mpifl.analysis.runs.series import only_tested
    from mpifl.terminal import say

    opened = open_runs(only_runs(runs))
    if quantities:
        opened = only_tested(opened, quantities)
    groups = group(opened, split(by), labels, over_domains)
    for found in groups:
        different = dict.fromkeys(run.seed for run in found.runs)
        seeds = ", ".join(str(seed) for seed in different)
        noun = "run, seed" if len(found) == 1 else "runs, seeds"
        say(f"{found.label}: {len(found)} {noun} {seeds}", error=True)
    return groups
