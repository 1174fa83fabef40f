"""Where a run comes from, in the lines of `mpifl show`: plugins, machines, resumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpifl.store import Run

_SLURM_SHOWN = (
    "SLURM_JOB_ID",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_NODELIST",
    "SLURM_NTASKS",
    "SLURM_CPUS_PER_TASK",
)


def lines(run: Run) -> Iterator[tuple[str, str]]:
    """Plugins, the provenance of the first start, when it was made, and each resume."""
    yield from _plugins(run)
    yield from _provenance(run)
    yield from _created(run)
    yield from _resumed(run)


def _plugins(run: Run) -> Iterator[tuple[str, str]]:
    told = set()
    for plugin in run.plugins:
        since = f", after round {plugin.after_round}" if plugin.after_round else ""
        if plugin.identity not in told:
            yield "plugin", f"{plugin.label}{since}"
        told.add(plugin.identity)


def _provenance(run: Run) -> Iterator[tuple[str, str]]:
    for name, value in run.provenance.items():
        is_shown = name in _SLURM_SHOWN or not name.startswith("SLURM_")
        if is_shown and value not in ("", []):
            text = counted(value) if isinstance(value, list) else str(value)
            yield name.replace("_", " "), text


def _created(run: Run) -> Iterator[tuple[str, str]]:
    software = f"{run.attrs.get('software')} {run.attrs.get('softwareVersion')}"
    yield "created", f"{run.attrs['created']} by {software}, seed {run.seed}, run {run.run_id}"
    if "resealed" in run.attrs:
        yield "edited", f"by another program; accepted by mpifl reseal at {run.attrs['resealed']}"
    yield "saved rounds", ", ".join(map(str, run.saved_rounds)) or "none"


def _resumed(run: Run) -> Iterator[tuple[str, str]]:
    """When and where the run was resumed; the provenance above is that of its first start."""
    for resume in run.resumes:
        words = [f"after round {resume['round']}", str(resume["time"])]
        for key in ("host", "device", "processor"):
            if key in resume:
                words.append(counted(_as_list(resume[key])))
        words.append(str(resume.get("command", "")))
        yield "resumed", ", ".join(word for word in words if word)


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def counted(values: list[Any]) -> str:
    """Each different value once, with a count where it is repeated."""
    counts: dict[str, int] = {}
    for value in values:
        counts[str(value)] = counts.get(str(value), 0) + 1
    words = []
    for value, count in counts.items():
        words.append(f"{count} x {value}" if count > 1 else value)
    return ", ".join(words)
