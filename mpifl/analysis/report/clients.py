"""Who is served how well: accuracy by client, class and domain, and who has which samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.report import blocks, figures
from mpifl.analysis.report.blocks import Section
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.left_out import last_by_domain
from mpifl.analysis.runs.outcomes import summary
from mpifl.analysis.runs.partition_pictures import partition_map
from mpifl.analysis.runs.pictures import Picture, class_pictures, client_pictures
from mpifl.options import BadInput
from mpifl.store import Run

_OF_CLIENTS = (
    "Each method's clients from the lowest accuracy to the highest; the grey part is the worst "
    "tenth: a line that begins higher leaves fewer clients behind."
)
_OF_CLASSES = (
    "Accuracy of each class in the last evaluation, sorted by its mean over methods: where dots of "
    "a class lie apart, methods differ in what they learn, not only in how much."
)
_OF_CLASS_ROUNDS = (
    "Accuracy of each class by round, the mean over seeds: dark stripes are classes that are "
    "learnt late, or forgotten between rounds."
)
_OF_PARTITION = (
    "How many training samples of each class each client has: the emptier a row, the more that "
    "client differs from the others."
)
_DOMAINS = {"test": "test set", "source": "validation set, of domains that train"}


def clients(compared: Compared) -> Section:
    """Accuracy of each client, sorted."""
    section = Section("clients", "Accuracy by client")
    drawn = []
    for panel in _of_clients(compared):
        drawn.append(compared.charted(panel, f"Accuracy: {panel.title}", _OF_CLIENTS))
    if drawn:
        section.parts = [compared.legend(), blocks.charts(drawn)]
    return section


def classes(compared: Compared) -> Section:
    """Accuracy of each class, at the end and by round."""
    section = Section("classes", "Accuracy by class")
    groups = compared.groups_where(lambda run: "test_right_by_class" in run.evaluations)
    pictures = _drawn(class_pictures, groups)
    if not pictures:
        return section
    maps = [picture for picture in pictures if isinstance(picture, HeatMap)]
    drawn = []
    for picture in pictures:
        if isinstance(picture, Panel):
            easiest = _from_hardest(picture)
            drawn.append(compared.charted(easiest, "Accuracy by class", _OF_CLASSES))
    drawn += compared.maps(maps, "Class by round", _OF_CLASS_ROUNDS)
    section.parts = [compared.legend(), blocks.charts(drawn), compared.left_out_maps(maps)]
    return section


def domains(compared: Compared) -> Section:
    """A table of the last accuracy of each domain."""
    section = Section("domains", "Accuracy by domain")
    for name, what in _DOMAINS.items():
        found = {run.run_id: last_by_domain(run).get(name, {}) for run in compared.runs}
        names = list(dict.fromkeys(domain for of_run in found.values() for domain in of_run))
        if not names:
            continue
        rows = []
        for group in compared.groups:
            of_runs = [found[run.run_id] for run in group.runs]
            rows.append([group.label, *(_mean(of_runs, domain) for domain in names)])
        caption = (
            f"Accuracy in each domain at the end, %, on the {what}: the mean over runs that test "
            "it ± standard deviation."
        )
        section.parts.append(blocks.table(["method", *names], rows, caption))
    return section


def partition(compared: Compared) -> Section:
    """Maps of clients by classes; one for each different partition."""
    section = Section("partition", "Who has which samples")
    maps = _partitions(compared.groups)
    caption = _OF_PARTITION
    if any(len(heat.y) < len(run.label_counts) for heat, run in maps):
        caption += " A row is the mean of neighbouring clients, since there are very many."
    drawn = compared.maps([heat for heat, _ in maps], "Samples", caption)
    section.parts = [blocks.charts(drawn), compared.left_out_maps([heat for heat, _ in maps])]
    return section


def _mean(of_runs: Sequence[dict[str, float]], domain: str) -> str:
    """The mean accuracy over the runs that test a domain, with its deviation, in percent."""
    found = summary([100 * of_run.get(domain, math.nan) for of_run in of_runs])
    if not found.n:
        return "–"
    spread = f" ± {found.std:.2f}" if math.isfinite(found.std) else ""
    return f"{found.mean:.2f}{spread}"


def _of_clients(compared: Compared) -> Iterator[Panel]:
    """Panels of the groups that have own test sets; where none has, of what clients report."""
    own = compared.groups_where(lambda run: "own_right_by_client" in run.evaluations)
    for picture in _drawn(client_pictures, own or compared.groups):
        if isinstance(picture, Panel):
            yield picture


def _drawn(
    make: Callable[[Sequence[Group]], Sequence[Picture]], groups: Sequence[Group]
) -> Sequence[Picture]:
    """The pictures of these groups; none where a run lacks what they show."""
    if not groups:
        return []
    try:
        return make(groups)
    except BadInput:
        return []


def _from_hardest(panel: Panel) -> Panel:
    """Means of each group by class, the classes sorted by their accuracy over all groups."""
    over_groups = np.mean([trace.mean for trace in panel.traces], axis=0)
    order = np.argsort(over_groups, kind="stable")
    traces = []
    for trace in panel.traces:
        texts = [f"class {label}" for label in order.tolist()]
        places = np.arange(1, len(order) + 1)
        means = trace.mean[order][None]
        traces.append(Trace(trace.label, places, means, ["the mean over runs"], texts=[texts]))
    return replace(panel, x_title="classes, from the hardest to the easiest", traces=traces)


def _partitions(groups: Sequence[Group]) -> list[tuple[HeatMap, Run]]:
    """A map for each different partition of the groups' first runs, and one run that has it."""
    found: list[tuple[HeatMap, Run]] = []
    for group in groups:
        run = group.runs[0]
        if any(np.array_equal(run.label_counts, other.label_counts) for _, other in found):
            continue
        title = f"{group.label}, seed {run.seed}"
        found.append((partition_map(run.label_counts, title, figures.MOST_CELLS), run))
    return found
