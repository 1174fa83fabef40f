"""What a report is made of: groups of runs, what was measured of each run, and the choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.panels import Band, Panel, band_in_words
from mpifl.analysis.report import blocks, figures
from mpifl.analysis.runs.curves import curve_panels
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.outcomes import outcome
from mpifl.analysis.runs.series import has
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Findings

MOST_MAPS = 4
"""maps of one kind: of the first groups, where there are more"""


@dataclass(frozen=True)
class Compared:
    """The groups of a report."""

    groups: Sequence[Group]
    band: Band = "std"
    target: float | None = None
    """an accuracy, 0 to 1"""
    findings: Mapping[str, Findings] = field(default_factory=dict)
    """of each run by its id; without those that cannot be read"""

    @staticmethod
    def of(groups: Sequence[Group], band: Band = "std", target: float | None = None) -> Compared:
        """Read what was measured; without a target, choose one that every run has reached."""
        findings = {}
        for group in groups:
            for run in group.runs:
                try:
                    findings[run.run_id] = Findings.open(run)
                except BadInput:  # told where the table of curvature is made
                    continue
        if target is None:
            target = _common_target(groups)
        return Compared(groups, band, target, findings)

    @property
    def labels(self) -> list[str]:
        """The groups' labels, in order."""
        return [group.label for group in self.groups]

    @property
    def runs(self) -> list[Run]:
        """All runs, group after group."""
        return [run for group in self.groups for run in group.runs]

    def groups_where(self, is_so: Callable[[Run], bool]) -> list[Group]:
        """The groups of which it is so for every run."""
        return [group for group in self.groups if all(is_so(run) for run in group.runs)]

    def parts_where(self, is_so: Callable[[Run], bool]) -> list[Group]:
        """Each group with those of its runs of which it is so; without groups that have none."""
        parts = []
        for group in self.groups:
            runs = [run for run in group.runs if is_so(run)]
            if runs:
                parts.append(Group(group.label, runs))
        return parts

    def note_of_parts(self, parts: Sequence[Group]) -> str:
        """A line that says how many runs were measured, where these are not all."""
        count = sum(len(part) for part in parts)
        if count == len(self.runs):
            return ""
        return blocks.small(f"Measured of {count} of {len(self.runs)} runs; lines are over these.")

    def legend(self, parts: Sequence[Group] = ()) -> str:
        """The groups' names, with buttons that hide them, and what lines and bands are.

        `parts`: those of their runs that are drawn; none stands for all.
        """
        drawn = parts or self.groups
        most = max(len(group) for group in drawn)
        words = ""
        if max(len(run.rounds["round"]) for run in self.runs) > figures.MOST_POINTS:
            words = (
                f"Of long curves about {figures.MOST_POINTS} points are drawn, among them the "
                "highest and the lowest of each stretch. "
            )
        if most > 1:
            fewest = min(len(group) for group in drawn)
            count = f"{most}" if fewest == most else f"{fewest} to {most}"
            what = band_in_words(self.band)
            words += f"Lines and bands: {what} of {count} runs; faint lines: single runs."
        return blocks.groups_legend(self.labels) + blocks.small(words)

    def curve(self, quantity: str, title: str, caption: str, over: str = "round") -> str:
        """The chart of a quantity for the groups that have it; "" where none has."""
        groups = self.groups_where(lambda run: has(run, quantity) and _has_axis(run, over))
        try:
            panels = curve_panels(groups, [quantity], [over]) if groups else []
        except BadInput:  # the runs of a group share no round
            return ""
        return self.charted(panels[0], title, caption) if panels else ""

    def charted(self, panel: Panel, title: str, caption: str) -> str:
        """The chart of a panel whose traces are groups."""
        made = figures.of_groups(panel, self.labels, self.band)
        return blocks.chart(made, title, caption)

    def maps(self, made: Sequence[HeatMap], what: str, caption: str) -> list[str]:
        """Charts of the first maps of a kind, each titled `what` with its group."""
        drawn = []
        for heat in made[:MOST_MAPS]:
            drawn.append(blocks.chart(figures.of_map(heat), f"{what}: {heat.title}", caption))
        return drawn

    def left_out_maps(self, made: Sequence[HeatMap]) -> str:
        """A line that says how many maps are not drawn; "" for none."""
        if len(made) <= MOST_MAPS:
            return ""
        rest = len(made) - MOST_MAPS
        return blocks.paragraph(f"Maps of the first {MOST_MAPS} are drawn; {rest} more are not.")


def _has_axis(run: Run, over: str) -> bool:
    return over == "round" or has(run, over)


def _common_target(groups: Sequence[Group]) -> float | None:
    """The highest whole percentage of accuracy that every run has reached; None below 1 %."""
    best = [outcome(run)["best_accuracy"] for group in groups for run in group.runs]
    percentage = int(100 * min(best) + 1e-9)
    return percentage / 100 if percentage >= 1 else None
