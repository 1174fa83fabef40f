"""A run as text: its parts, progress, accuracy curve, partition, costs, provenance, digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mpifl.analysis.runs import curvature_shown, left_out
from mpifl.analysis.runs.character_plots import plot
from mpifl.analysis.runs.listing import evaluated
from mpifl.analysis.runs.quantities import GENERALISATION
from mpifl.config import renamed, toml
from mpifl.options import BadInput
from mpifl.runner import known_defaults
from mpifl.store import OTHERS_TESTED, Run, notes, sha256
from mpifl.store.measurements import Findings
from mpifl.store.run_folder import MODELS
from mpifl.store.timeline import NAMES as TIMELINE
from mpifl.terminal import Table, facts, operations, percent, plural, size, styled

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST_PLOT = 100
_LATE = 3  # in /clients/failed
_PLOT_HEIGHT = 15
_TABLES = (
    "data",
    "partition",
    "holdout",
    "model",
    "algorithm",
    "local",
    "participation",
    "heterogeneity",
    "evaluation",
)
_SINGLE = ("init", "init_head", "objective", "buffers", "divergence")
"""options of the config that stand in no table"""
_SLURM_SHOWN = (
    "SLURM_JOB_ID",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_NODELIST",
    "SLURM_NTASKS",
    "SLURM_CPUS_PER_TASK",
)


def show(run: Run, console: Console, config: bool = False) -> None:
    """Print a summary of `run`, with its stored config if `config` is set.

    The last line is `sha256 ` and a hex digest: of the last saved weights; else, also where their
    file is absent, the one stored in the last row of /rounds; else `none`.
    """
    from mpifl.analysis.runs import measures_shown

    stored = _parsed(run.config)
    told, is_whole = _told(stored)
    console.print(styled(f"{stored.get('name', run.path.name)}: {_status(run)}", "bold"))
    facts_of_run = [("run", str(run.path)), *_configured(told), *_progress(run, stored)]
    console.print(_grid([*facts_of_run, *measures_shown.lines(run)]))
    if not is_whole:
        console.print(styled("(options that are not shown have their defaults: --config)"))
    curve = accuracy_curve(run, min(console.width, _WIDEST_PLOT), console.encoding)
    if curve:
        console.print(styled("\n" + curve), no_wrap=True, crop=False)
    console.print()
    made = [*_partition(run), *_costs(run), *_plugins(run), *_provenance(run)]
    console.print(_grid([*made, *_created(run), *_resumed(run)]))
    written = notes.read(run)
    if written:
        console.print()
        console.print(_grid([(name.split(".")[0], text) for name, text in written]))
    if config:
        console.print()
        _print_as_is(console, _marked(run.config))
    console.print()
    note, digest = _digest(run)
    console.print(styled(note))
    _print_as_is(console, f"sha256 {digest}")


def accuracy_curve(run: Run, width: int, encoding: str = "utf-8") -> str:
    """The test accuracy by round, drawn with characters; "" before the first evaluation."""
    rounds, accuracy = evaluated(run)
    if not len(rounds):
        return ""
    return plot(rounds, accuracy, "test accuracy", width, _PLOT_HEIGHT, encoding)


def _status(run: Run) -> str:
    if run.status == "running":
        return f"running, last written {run.attrs['updated']}"
    return run.status


def _told(stored: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What is said of a config: what differs from the defaults; or all, if it is of no use today.

    Also whether that is all of it.
    """
    if not stored:
        return stored, True
    try:
        return known_defaults.short(renamed(stored)), False
    except known_defaults.Unknown:
        pass
    from mpifl.runner import differences, schema  # takes a second

    try:
        return differences.short(schema.resolve(stored)), False
    except BadInput:
        return stored, True


def _configured(stored: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in _TABLES:
        if key in stored:
            shown = {name: value for name, value in stored[key].items() if name != "loss"}
            line = _line(shown)
            if line:
                yield key, line[1:-1] if line.startswith("(") else line
    for key in _SINGLE:
        if stored.get(key):
            yield key, str(stored[key])
    if "loss" in stored.get("local", {}):
        yield "loss", str(stored["local"]["loss"])


def _line(options: object) -> str:
    """One part of the config as `name (option=value, ...)`, without empty options."""
    if not isinstance(options, dict):
        return str(options)
    name = str(options.get("name", options.get("kind", "")))
    words = []
    for key, value in options.items():
        if key not in ("name", "kind") and value not in ("", {}):
            words.append(f"{key}={_line(value)}")
    if not words:
        return name
    return f"{name} ({', '.join(words)})".strip()


def _progress(run: Run, stored: dict[str, Any]) -> Iterator[tuple[str, str]]:
    done = run.rounds["round"]
    yield "rounds", f"{len(done)} of {stored['rounds']}" if "rounds" in stored else str(len(done))
    if run.resumed_otherwise:
        yield "resumed", f"{run.resumed_otherwise}: no repeat of a run that was never stopped"
    rounds, accuracy = evaluated(run)
    if len(rounds):
        best = int(accuracy.argmax())
        last = f"last {percent(accuracy[-1])} (round {rounds[-1]})"
        yield "test accuracy", f"best {percent(accuracy[best])} (round {rounds[best]}), {last}"
    else:
        yield "test accuracy", "not evaluated yet"
    for name, what in OTHERS_TESTED.items():
        known = run.rounds.get(name, np.zeros(0))
        if np.isfinite(known).any():
            known = known[np.isfinite(known)]
            yield what, f"best {percent(known.max())}, last {percent(known[-1])}"
    for name, what in GENERALISATION.items():
        known = run.rounds.get(name, np.zeros(0))
        if np.isfinite(known).any():
            yield what, f"last {percent(known[np.isfinite(known)][-1])}"
    yield from _by_domain(run)
    yield from _skewed(run)
    yield from _measured(run)
    if "failed" in run.clients:
        failed = (run.clients["failed"] > 0) & (run.clients["failed"] != _LATE)
        replies = plural(int(failed.sum()), "reply", "replies")
        rounds_hit = plural(int(failed.any(axis=1).sum()), "round")
        if failed.any():
            yield "left out", f"{replies} in {rounds_hit}"
    if "clients_there" in run.rounds:
        yield "clients differ", ", ".join(_differences(run))


def _differences(run: Run) -> Iterator[str]:
    """What became of clients that were away, slow or too late."""
    there = run.rounds["clients_there"]
    trains = int(run.trains.sum())
    yield f"on average {there.mean():.3g} of {trains} there"
    if "steps" in run.clients:
        steps = run.clients["steps"]
        steps = steps[np.isfinite(steps)]
        if steps.size:  # not where nobody ever took part
            yield f"{steps.min():,.0f} to {steps.max():,.0f} steps a round, mean {steps.mean():.3g}"
    if "failed" in run.clients:
        late = int((run.clients["failed"] == _LATE).sum())
        if late:
            yield f"{plural(late, 'reply', 'replies')} too late and left out"
    empty = int((run.clients["participated"].sum(1) == 0).sum())
    if empty:
        yield f"nobody in {plural(empty, 'round')}"


def _ranks(run: Run) -> Iterator[tuple[str, str]]:
    """What the server and the workers have spent their time on, in percent."""
    if not run.timeline:
        return
    kinds = [name for name in TIMELINE if name in run.timeline]
    spent = np.stack([np.nansum(run.timeline[name], axis=0) for name in kinds])
    groups = {"server": spent[:, :1], "workers": spent[:, 1:]}
    if spent.shape[1] == 1:
        groups = {"one rank": spent}
    words = []
    for who, of_ranks in groups.items():
        parts = of_ranks.sum(1) / max(of_ranks.sum(), 1e-9)
        shares = []
        for name, part in zip(kinds, parts, strict=True):
            if part >= 0.005:
                shares.append(f"{name} {100 * part:.0f} %")
        words.append(f"{who}: {', '.join(shares)}")
    yield "time of ranks", "; ".join(words)


def _by_domain(run: Run) -> Iterator[tuple[str, str]]:
    """Which domains are left out, and the last accuracy of each domain."""
    best = left_out.source_best(run)
    if run.left_out:
        words = f"{', '.join(run.left_out)}: the test set; the others train"
        if best is not None:
            words += f"; at the source-best round {best.round}: {percent(best.accuracy)}"
        yield "domains left out", words
    titles = {"test": "test accuracy by domain", "source": "of domains that train"}
    for name, accuracies in left_out.last_by_domain(run).items():
        yield titles[name], ", ".join(f"{d} {percent(value)}" for d, value in accuracies.items())


def _skewed(run: Run) -> Iterator[tuple[str, str]]:
    """The test accuracy with the classes as frequent as clients have them, where these differ."""
    known = run.rounds.get("skewed_accuracy", np.zeros(0))
    shares = run.label_counts[run.trains] / run.label_counts[run.trains].sum(1, keepdims=True)
    if not np.isfinite(known).any() or np.ptp(shares, axis=0).max() == 0:
        return
    worst = run.rounds["skewed_accuracy_worst_tenth"]
    last = percent(known[np.isfinite(known)][-1])
    last_worst = percent(worst[np.isfinite(worst)][-1])
    words = f"last {last}, worst tenth {last_worst}"
    mass = float(np.nanmin(run.rounds.get("skewed_mass", np.ones(1))))
    if mass < 1 - 1e-9:  # the test set lacks classes that clients have
        words += f"; it has the classes of at least {percent(mass)} of a client's labels"
    yield "test set, own classes", words


def _measured(run: Run) -> Iterator[tuple[str, str]]:
    """What `mpifl finetune` and `mpifl hessian` have found."""
    try:
        findings = Findings.open(run)
    except BadInput:  # `mpifl hessian` and `finetune` say what is wrong with the file
        return
    yield from _fine_tuned(findings)
    yield from curvature_shown.lines(findings)


def _fine_tuned(findings: Findings) -> Iterator[tuple[str, str]]:
    """For the clients that trained: on their own test sets, or else with their own classes."""
    for path, finding in findings.found.items():
        name, round, *rest = path.split("/")
        if rest != ["global", "fine_tuning"]:
            continue
        tuned = (finding["trains"] > 0) & (finding["steps"] > 0)
        own = tuned & (finding["own_samples"] > 0)
        where = "own test sets"
        before = finding["own_before"][own] / finding["own_samples"][own]
        after = finding["own_after"][own] / finding["own_samples"][own]
        if not own.any():
            where = "test set, own classes"
            before = finding["skewed_before"][tuned]
            after = finding["skewed_after"][tuned]
        means = f"{percent(float(np.nanmean(before)))} -> {percent(float(np.nanmean(after)))}"
        yield f"fine-tuned ({name})", f"{where}: {means} (round {int(round[6:])})"


def _partition(run: Run) -> Iterator[tuple[str, str]]:
    sizes = np.diff(run.offsets)
    train = sizes > 0
    classes = (run.label_counts > 0).sum(1)[train]
    unseen = int((~train).sum())
    yield "clients", f"{len(classes)}, and {unseen} that never train" if unseen else str(len(sizes))
    yield "samples per client", _spread(sizes[train])
    yield "classes per client", f"{_spread(classes)} of {run.label_counts.shape[1]}"


def _training(run: Run) -> Iterator[tuple[str, str]]:
    """What a step takes and holds; nothing for runs of before 0.2."""
    known = run.attrs
    if "flops_sample" not in known:
        return
    step = known["flops_once"] + known["flops_sample"] * known["flops_batch"]
    words = f"{operations(step)} a step of {plural(known['flops_batch'], 'sample')}"
    if known["flops_draws"] > 1:
        words += f" (mean over {known['flops_draws']} draws)"
    yield "training", f"{words}, {operations(known['flops_forward'])} a sample of the test"
    trained = known["parameters_trained"]
    yield "numbers held", f"{known['parameters_held']:,} by a client, of which {trained:,} train"


def _costs(run: Run) -> Iterator[tuple[str, str]]:
    yield from _training(run)
    for name, column in run.rounds.items():
        title = name.replace("_", " ")
        if name.startswith("seconds") and np.isfinite(column).any():
            mean = np.nanmean(column)
            total = np.nansum(column)
            yield title, f"mean {mean:.3g} a round, {total:.4g} in all"
        elif name.startswith("bytes") and (column >= 0).any():
            known = column[column >= 0]
            yield title, f"mean {size(known.mean())} a round, {size(known.sum())} in all"
        elif name == "flops" and np.isfinite(column).any():
            known = column[np.isfinite(column)]
            in_all = operations(known.sum())
            yield "training took", f"mean {operations(known.mean())} a round, {in_all} in all"
    yield from _ranks(run)


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
        for key in ("host", "device"):
            if key in resume:
                words.append(counted(_as_list(resume[key])))
        words.append(str(resume.get("command", "")))
        yield "resumed", ", ".join(word for word in words if word)


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _digest(run: Run) -> tuple[str, str]:
    """A line that says what the digest is of, and the digest."""
    stored = dict(zip(run.rounds["round"].tolist(), run.rounds.get("sha256", ()), strict=False))
    known = [(round, digest) for round, digest in stored.items() if digest]
    absent = run.absent_rounds()
    if run.saved_rounds and run.saved_rounds[-1] not in absent:
        last = run.saved_rounds[-1]
        digest = sha256(*run.weights())
        if stored.get(last, "") in ("", digest):
            return f"digest of the weights saved at round {last}:", digest
        warning = f"WARNING: the weights saved at round {last} are not those that were trained:"
        return warning, digest
    what = "no weights are saved"
    if absent:
        rounds = ", ".join(map(str, absent))
        what = f"the weights saved at round {rounds} are absent: {MODELS}/ was not copied"
    if known:
        return f"{what}; digest stored at round {known[-1][0]}:", known[-1][1]
    return f"{what}; no digest is stored:", "none"


def _marked(config: str) -> str:
    """The stored config; comments give the defaults of what differs from them."""
    from mpifl.runner import differences, schema

    stored = _parsed(config)
    if not stored:
        return config.rstrip()
    try:
        return differences.marked_text(schema.resolve(stored), config)
    except BadInput:
        return config.rstrip()


def _parsed(config: str) -> dict[str, Any]:
    try:
        return toml(config, "the stored config")
    except BadInput:  # the rest of the run is still shown
        return {}


def _spread(counts: np.ndarray) -> str:
    return f"min {counts.min()}, median {np.median(counts):g}, max {counts.max()}"


def counted(values: list[Any]) -> str:
    """Each different value once, with a count where it is repeated."""
    counts: dict[str, int] = {}
    for value in values:
        counts[str(value)] = counts.get(str(value), 0) + 1
    words = []
    for value, count in counts.items():
        words.append(f"{count} x {value}" if count > 1 else value)
    return ", ".join(words)


def _grid(rows: Iterable[tuple[str, str]]) -> Table:
    made = facts()
    for row in rows:
        made.add_row(*row)
    return made


def _print_as_is(console: Console, text: str) -> None:
    console.print(styled(text), soft_wrap=True)
