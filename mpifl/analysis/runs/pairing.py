"""What two runs of one seed share, so that their difference is due to the method alone.

Random draws depend on the seed, the client and the round only. So two methods at one seed can have
the same data, partition, cohorts, initial weights and augmentation; here it is checked that they
have, by SHA-256. Shuffles follow from the seed and the partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mpifl.analysis.runs.groups import Group, options
from mpifl.config import ADDED
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.evaluations import SAMPLES

SHARED = (
    "data",
    "partition",
    "hold-outs",
    "cohorts",
    "work",
    "initial-weights",
    "augmentation",
    "evaluated-samples",
)
"""what is compared, by the names that messages and --unshared use"""

_WORK = ("epochs", "steps")
"""what clients report of the work that they were given"""


@dataclass
class Pairs:
    """A method's runs beside the baseline's of the same seeds."""

    label: str
    ours: list[Run] = field(default_factory=list)
    theirs: list[Run] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    """seeds that only one of the two has"""


def matched(group: Group, baseline: Group, unshared: Sequence[str]) -> Pairs:
    """The group's runs beside the baseline's of the same seeds. Raises BadInput, also for none."""
    by_seed = {run.seed: run for run in baseline.runs}
    pairs = Pairs(group.label)
    for run in group.runs:
        if run.seed in by_seed:
            refuse_unpaired(run, by_seed[run.seed], unshared)
            pairs.ours.append(run)
            pairs.theirs.append(by_seed[run.seed])
    shared = {run.seed for run in pairs.ours}
    every = {run.seed for run in (*group.runs, *baseline.runs)}
    pairs.dropped = sorted(every - shared)
    if not shared:
        theirs = ", ".join(str(run.seed) for run in baseline.runs)
        ours = ", ".join(str(run.seed) for run in group.runs)
        raise BadInput(
            f"paired: expected seeds that {group.label} and {baseline.label} share; got {ours} and "
            f"{theirs}"
        )
    return pairs


def refuse_repeated_seeds(group: Group) -> None:
    """Raise BadInput where a group, of a grouping by few options, has a seed twice."""
    seeds = [run.seed for run in group.runs]
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise BadInput(
                f"paired: expected each method and seed once; got seed {seed} more than once in "
                f"{group.label}; leave runs out, or group by more options (--by)"
            )


def refuse_unpaired(run: Run, baseline: Run, allowed: Sequence[str] = ()) -> None:
    """Raise BadInput, naming each, where two runs of one seed differ in something of SHARED.

    What is `allowed` may differ, and so may what one of the runs has not stored.
    """
    ours = digests(run, baseline)
    theirs = digests(baseline, run)
    differing = []
    for name in SHARED:
        is_known = name in ours and name in theirs
        if is_known and name not in allowed and ours[name] != theirs[name]:
            differing.append(name)
    if differing:
        found = ", ".join(f"{name} ({ours[name][:8]}, {theirs[name][:8]})" for name in differing)
        raise BadInput(
            f"paired: expected runs of seed {run.seed} that share what no method changes; got "
            f"{run.path} and {baseline.path}, which differ in {found}; allowed: "
            f"--unshared {','.join(differing)} to compare them all the same"
        )


def not_compared(run: Run, baseline: Run) -> dict[str, str]:
    """What of SHARED could not be compared, and why."""
    reasons = {}
    ours = digests(run, baseline)
    theirs = digests(baseline, run)
    for name in SHARED:
        if name in ours and name in theirs:
            continue
        if name == "work" and name not in ours and name not in theirs:
            continue  # all clients do what the options say
        reasons[name] = "not stored"
    if run.layout != baseline.layout:
        reasons["initial-weights"] = "another network"
    return reasons


def digests(run: Run, other: Run) -> dict[str, str]:
    """SHA-256 in hex of each of SHARED that the run has stored, as far as `other` goes too.

    Only rounds and sets of samples that both have are compared, and initial weights of one network.
    """
    rounds = min(len(run.rounds["round"]), len(other.rounds["round"]))
    end = run.clients.offsets[rounds]
    found = {
        "partition": _digest(*_samples_by_client(run)),
        "hold-outs": _digest(*(run.holdout[name] for name in sorted(run.holdout))),
        "cohorts": _digest(run.clients.offsets[: rounds + 1], run.clients.ids[:end]),
        "augmentation": hashlib.sha256(repr(_augmentation(run)).encode()).hexdigest(),
    }
    if "data_checksum" in run.provenance:
        found["data"] = str(run.provenance["data_checksum"])
    if "initial_weights" in run.provenance and run.layout == other.layout:
        found["initial-weights"] = str(run.provenance["initial_weights"])
    work = [run.clients.reported[name][:end] for name in _WORK if name in run.clients.reported]
    if work:
        found["work"] = _digest(*work)
    both = sorted(set(run.evaluations) & set(other.evaluations))
    found["evaluated-samples"] = _digest(*(run.evaluations[n] for n in both if SAMPLES in n))
    return found


def _samples_by_client(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Each client's samples, sorted, and where each client's begin: also those held out."""
    parts = []
    for client in range(len(run.offsets) - 1):
        parts.append(np.sort(np.concatenate([run.part(client), run.own_test(client)])))
    sizes = [len(part) for part in parts]
    return np.concatenate(parts), np.cumsum(sizes)


def _augmentation(run: Run) -> list[tuple[str, object]]:
    known = dict(ADDED) | options(run)
    return sorted((key, value) for key, value in known.items() if key.startswith("data.augment"))


def _digest(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        if array.dtype.kind == "O":
            sha.update("\0".join(array.tolist()).encode())
            continue
        form = "<i8" if array.dtype.kind in "iu" else "<f8"
        sha.update(np.ascontiguousarray(array, form).tobytes())
    return sha.hexdigest()
