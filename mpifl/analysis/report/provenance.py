"""With what the runs were made: software, machines, digests, notes, and every config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mpifl import __version__
from mpifl.analysis.report import blocks
from mpifl.analysis.report.blocks import Section
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.runs.provenance_shown import counted
from mpifl.store import Run, notes
from mpifl.store.contents import timestamp


def provenance(compared: Compared) -> Section:
    """What all runs share once, then what differs by run; digests, notes and configs."""
    section = Section("provenance", "Provenance")
    runs = compared.runs
    names = [f"{group.label}, seed {run.seed}" for group in compared.groups for run in group.runs]
    known = [dict(_facts(run)) for run in runs]
    commands = [of_run.pop("command", "") for of_run in known]
    keys = list(dict.fromkeys(key for of_run in known for key in of_run))
    shared = [key for key in keys if len({of_run.get(key) for of_run in known}) == 1]
    made = f"{timestamp()} by mpifl {__version__}"
    same = [(_spaced(key), known[0][key]) for key in shared]
    section.parts.append(blocks.facts([("this page", made), *same]))
    differing = [key for key in keys if key not in shared]
    rows = []
    for name, of_run in zip(names, known, strict=True):
        rows.append([name, *(of_run.get(key, "–") for key in differing)])
    heads = ["run", *(_spaced(key) for key in differing)]
    caption = (
        "What differs between the runs; the digest is that of the weights after the last round."
    )
    section.parts.append(blocks.words_table(heads, rows, caption))
    told = [f"# {name}\n{line}" for name, line in zip(names, commands, strict=True) if line]
    if told:
        section.parts.append(blocks.folded("Commands", blocks.verbatim("\n".join(told))))
    section.parts += _written(names, runs)
    for group in compared.groups:
        run = group.runs[0]
        title = f"Config of {group.label}, seed {run.seed}"
        section.parts.append(blocks.folded(title, blocks.verbatim(run.config)))
    return section


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    """Name and value of what is known of a run's making."""
    for name, value in run.provenance.items():
        if value not in ("", []):
            yield name, counted(value) if isinstance(value, list) else str(value)
    yield "created", str(run.attrs["created"])
    yield "run_id", run.run_id
    if run.resumes:
        yield "resumed", ", ".join(f"after round {resume['round']}" for resume in run.resumes)
    if run.resumed_otherwise:
        yield "resumed otherwise", run.resumed_otherwise
    if run.plugins:
        yield "plugins", ", ".join(dict.fromkeys(plugin.label for plugin in run.plugins))
    digests = [digest for digest in run.rounds.get("sha256", ()) if digest]
    if digests:
        yield "sha256 of the weights", str(digests[-1])


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _written(names: Sequence[str], runs: Sequence[Run]) -> Iterator[str]:
    """The notes that were written about each run."""
    for name, run in zip(names, runs, strict=True):
        found = [text for _, text in notes.read(run)]
        if found:
            yield blocks.folded(f"Notes about {name}", blocks.verbatim("\n\n".join(found)))
