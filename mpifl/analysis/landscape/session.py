"""One `mpifl landscape`, on all ranks of the job: from runs' paths to pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mpifl.analysis.figures import check_installed
from mpifl.analysis.landscape.panels import Panel, together
from mpifl.analysis.landscape.plan import LandscapeOptions, LandscapePlan, names_of
from mpifl.analysis.landscape.stored import keep_landscapes
from mpifl.analysis.landscape.values import barrier_in_words
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator
from mpifl.runner.exit_codes import DONE, on_all_ranks
from mpifl.store import Run
from mpifl.terminal import plural, say


def main(
    paths: Sequence[str],
    options: LandscapeOptions,
    out: Path,
    data_path: str,
    plugins: Sequence[Path],
    unfinished: bool,
) -> int:
    """Draw the landscapes of the runs at `paths` into OUT.png, .html and .npz; the exit code."""
    return on_all_ranks(
        lambda communicator: _draw(
            communicator, paths, options, out, data_path, plugins, unfinished
        )
    )


def _draw(
    communicator: Communicator,
    paths: Sequence[str],
    options: LandscapeOptions,
    out: Path,
    data_path: str,
    plugins: Sequence[Path],
    unfinished: bool,
) -> int:
    communicator.agree(lambda: check_installed(["png", "html"]))
    communicator.agree(lambda: _check(paths, options))
    runs = communicator.agree(lambda: [Run.open(path) for path in paths])
    plans = []
    for run in runs:
        on_ranks = RunOnRanks(
            run, communicator, data_path=data_path, plugins=plugins, unfinished=unfinished
        )
        plans.append(LandscapePlan(on_ranks, options))
    for path, plan in zip(paths, plans, strict=True):
        _announce(path, plan)
    several = len(plans) > 1
    computed = [plan.compute() for plan in plans]
    panels: Sequence[Panel]
    if several:
        panels = _beside_each_other(plans, computed, names_of(runs))
        title = ", ".join(paths)
    else:
        panels = computed[0]
        title = f"{paths[0]}: {plans[0].model.label}"

    def save() -> None:
        if communicator.is_server:
            from mpifl.analysis.landscape.saving import save

            save(panels, out, title, titled=several)
            for run, plan, found in zip(runs, plans, computed, strict=True):
                keep_landscapes(run, plan.model.round, found, options.settings)

    communicator.agree(save)
    if communicator.is_server and not several:
        for name, barrier in plans[0].barriers(panels).items():
            say(f"barrier {name}: {barrier_in_words(barrier)}")
    return DONE


def _check(paths: Sequence[str], options: LandscapeOptions) -> None:
    if len(paths) > 1 and options.to:
        raise BadInput(f"--to: expected with one RUN; got {len(paths)}")


def _announce(path: str, plan: LandscapePlan) -> None:
    """Print what will be computed, and how long that takes. All ranks call it."""
    seconds = plan.seconds()
    communicator = plan.on_ranks.communicator
    if communicator.is_server:
        count = sum(len(panel) for panel in plan.panels)
        say(
            f"{path}: {plan.model.label}, {plural(count, 'landscape')} of "
            f"{plural(plan.size, 'point')}, about {seconds:.0f} s, "
            f"{plural(communicator.size, 'rank')}"
        )


def _beside_each_other(
    plans: Sequence[LandscapePlan], computed: Sequence[Sequence[Panel]], names: Sequence[str]
) -> list[Panel]:
    """The panels of several runs, with the runs' names for titles; with the models', if unlike."""
    one_label = len({plan.model.label for plan in plans}) == 1
    panels_of_runs = []
    for name, plan, of_run in zip(names, plans, computed, strict=True):
        title = name if one_label else f"{name}: {plan.model.label}"
        panels: list[Panel] = []
        for panel in of_run:
            panels.append([replace(landscape, title=title) for landscape in panel])
        panels_of_runs.append(panels)
    return together(panels_of_runs)
