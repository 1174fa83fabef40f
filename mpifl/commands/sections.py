"""The group of all commands: its help lists them under headings, and Ctrl-C ends it with 130."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from mpifl.commands.process import BAD_INPUT, unwritten
from mpifl.terminal import say

INTERRUPTED = 130


class Sections(click.Group):
    """A group of commands that `--help` lists by section, in the order in which they are added."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]  # click checks them
        self._sections: dict[str, list[click.Command]] = {}

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the options that stand before the command's name."""
        with _mistakes_told_once():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; after a SIGINT, exit with 130, as shells expect."""
        try:
            with _mistakes_told_once():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            say("mpifl: interrupted", error=True)
            sys.exit(INTERRUPTED)

    def add_section(self, title: str, *commands: click.Command) -> None:
        """Add commands under a heading."""
        self._sections[title] = list(commands)
        for command in commands:
            self.add_command(command)

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line; help that cannot be written ends in one line, exit code 2.

        On one of several ranks, signals kill the process until the command handles them: with
        click's exit code 1 for KeyboardInterrupt, the other ranks might wait for it.
        """
        from mpifl.parallel.launcher import signals_kill  # reads the environment

        try:
            with signals_kill():
                return super().main(*arguments, **options)
        except OSError as failure:
            if failure.filename is not None:  # not of a stream
                raise
            say(unwritten(failure), error=True)
            sys.exit(BAD_INPUT)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, section by section."""
        names = []
        for commands in self._sections.values():
            names += [str(command.name) for command in commands]
        return names

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a definition list for each section."""
        widest = max(len(name) for name in self.list_commands(ctx))
        room = formatter.width - widest - 6
        for title, commands in self._sections.items():
            with formatter.section(title):
                rows = [
                    (_padded(command, widest), command.get_short_help_str(room))
                    for command in commands
                ]
                formatter.write_dl(rows)


@contextmanager
def _mistakes_told_once() -> Iterator[None]:
    """Inside this, a wrong command line of several ranks is told by the first of them only."""
    from mpifl.parallel import launcher  # reads the environment

    try:
        yield
    except click.UsageError as mistake:
        if launcher.is_first():
            raise
        launcher.leave_it_to_the_first()
        sys.exit(mistake.exit_code)


def _padded(command: click.Command, width: int) -> str:
    """The command's name, so wide that the texts of all sections stand in one column."""
    return str(command.name).ljust(width)
