"""What the commands that look at runs have in common: which runs, how they are grouped, what the
groups are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from mpifl.analysis.runs.groups import Group, group, open_runs
from mpifl.options import BadInput
from mpifl.store import atomic


def on_groups(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the argument RUNS and the options --by and --label, as the one parameter
    `groups`.
    """

    @click.argument("runs", nargs=-1)
    @click.option("--by", default="", metavar="KEY,KEY", help="Group by these options alone.")
    @click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="TEXT",
        help="What to call a group; once for each.",
    )
    @wraps(command)
    def given(*, runs: tuple[str, ...], by: str, labels: tuple[str, ...], **rest: Any) -> None:
        command(groups=grouped(runs, by, labels), **rest)

    return given


def names(text: str) -> list[str]:
    """The names of a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def check_suffixes(paths: Iterable[Path], allowed: Iterable[str]) -> None:
    """BadInput, before any work is done, for a file whose suffix is none of `allowed`."""
    allowed = list(allowed)
    for path in paths:
        if path.suffix.removeprefix(".") not in allowed:
            raise BadInput(
                f"{path}: expected a name ending in .{', .'.join(allowed)}; got {path.suffix or 'none'}"
            )


def write(path: Path, data: bytes | memoryview) -> None:
    """A file that is there whole or not at all, in a folder that is made if need be; and say so.
    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, data)
    click.echo(f"written to {path}")


def grouped(runs: tuple[str, ...], by: str = "", labels: tuple[str, ...] = ()) -> list[Group]:
    """The groups of runs at these paths; `by` is a list with commas. Raises BadInput; says what the
    groups are.
    """
    groups = group(open_runs(runs), names(by), labels)
    for found in groups:
        s = "s" if len(found) > 1 else ""
        seeds = ", ".join(str(run.seed) for run in found.runs)
        click.echo(f"{found.label}: {len(found)} run{s}, seed{s} {seeds}", err=True)
    return groups
