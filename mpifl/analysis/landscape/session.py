"""One `mpifl landscape`, on all ranks of the job: from a run's path to pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpifl.analysis.figures import check_installed
from mpifl.analysis.landscape.plan import LandscapeOptions, LandscapePlan
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.parallel.communicator import Communicator
from mpifl.runner.exit_codes import DONE, on_all_ranks
from mpifl.store import Run
from mpifl.terminal import plural, say

_ROUNDING = 1e-6
"""smaller rises of the loss are rounding errors"""


def main(
    path: str,
    options: LandscapeOptions,
    out: Path,
    data_path: str,
    plugins: Sequence[Path],
    unfinished: bool,
) -> int:
    """Draw the landscapes of the run at `path` into OUT.png, .html and .npz; the exit code."""
    return on_all_ranks(
        lambda communicator: _draw(communicator, path, options, out, data_path, plugins, unfinished)
    )


def _draw(
    communicator: Communicator,
    path: str,
    options: LandscapeOptions,
    out: Path,
    data_path: str,
    plugins: Sequence[Path],
    unfinished: bool,
) -> int:
    communicator.agree(lambda: check_installed(["png", "html"]))
    run = communicator.agree(lambda: Run.open(path))
    on_ranks = RunOnRanks(
        run, communicator, data_path=data_path, plugins=plugins, unfinished=unfinished
    )
    plan = LandscapePlan(on_ranks, options)
    title = f"{path}: {plan.model.label}"
    seconds = plan.seconds()
    if communicator.is_server:
        count = sum(len(panel) for panel in plan.panels)
        say(
            f"{title}, {plural(count, 'landscape')} of {plural(plan.size, 'point')}, "
            f"about {seconds:.0f} s, {plural(communicator.size, 'rank')}"
        )
    panels = plan.compute()

    def save() -> None:
        if communicator.is_server:
            from mpifl.analysis.landscape.saving import save

            save(panels, out, title)

    communicator.agree(save)
    if communicator.is_server:
        for name, barrier in plan.barriers(panels).items():
            say(f"barrier {name}: {_in_words(barrier)}")
    return DONE


def _in_words(barrier: float) -> str:
    return "none" if barrier < _ROUNDING else f"{barrier:.3g}"
