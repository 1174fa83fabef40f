"""The time of a round as `mpifl plan --nodes 1` foretells it, against runs on this machine."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from benchmarks import workloads
from benchmarks.on_ranks import mpirun
from benchmarks.pairs import Pairs, Times
from benchmarks.report import Row
from mpifl.parallel.devices import configure
from mpifl.plan.cluster import Cluster, forecast
from mpifl.plan.dry_run import dry_run
from mpifl.plan.network import network
from mpifl.plan.profile import Profile, measure
from mpifl.runner import schema
from mpifl.store import Run

RANKS = (1, 2, 3, 5)
ROUNDS = {"CNN": 10, "tiny steps": 40}
_COMMANDS = 5
_BEGINNING = 2  # rounds that are left out: they also set things up


def plan() -> list[Row]:
    """plan against a run of one round; and a round as plan foretells it (ours) against the fastest
    of a run (other), by ranks
    """
    rows = [Row.of("mpifl plan / a run of one round", _whole_commands(), bar=1.0)]
    for name, raw in _workloads().items():
        for ranks in RANKS:
            rows.append(_row(name, raw, ranks))
    return rows


def _whole_commands() -> Pairs:
    """Both commands on the demo, from their start to their end."""
    demo = str(Path(__file__).parent.parent / "configs" / "demo.toml")
    pairs = Pairs()
    with tempfile.TemporaryDirectory() as place:
        for _ in range(_COMMANDS):
            pairs.ours.append(_times("plan", demo, "rounds=1"))
            pairs.other.append(_times("run", demo, "rounds=1", "--out", f"{place}/run", "--force"))
    return pairs


def _times(*words: str) -> Times:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, "-m", "mpifl", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Times(wall, cpu)


def _workloads() -> dict[str, dict[str, Any]]:
    """Many small clients, 20 a round; and tiny steps, where a round is all overhead."""
    many = deepcopy(workloads.MANY_CLIENTS)
    many["participation"]["fraction"] = 0.1
    many["data"]["options"]["test"] = 500
    tiny = deepcopy(workloads.TINY_STEPS)
    tiny["data"]["options"]["test"] = 500
    return {"CNN": many, "tiny steps": tiny}


def _row(name: str, raw: dict[str, Any], ranks: int) -> Row:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config = folder / "config.toml"
        config.write_text(tomli_w.dumps({**raw, "rounds": ROUNDS[name]}), encoding="utf-8")
        links: tuple[str, ...] = ()
        if ranks > 1:
            mpirun(ranks, "mpifl", "doctor", config, "--save", folder / "network.json")
            links = (str(folder / "network.json"),)
        before = _measured(config)
        mpirun(ranks, "mpifl", "run", config, "--out", folder / "run")
        measured = _faster(before, _measured(config))
        seconds = Run.open(folder / "run").rounds["seconds"][_BEGINNING:]
        cluster = Cluster(1, ranks, network(links), os.cpu_count() or 1)
        found = forecast(dry_run(schema.resolve(schema.raw(str(config), ()))), measured, cluster)
    fastest = float(seconds.min())
    low, high = np.quantile(found.round / seconds, (0.25, 0.75)).tolist()
    what = f"{name}, {ranks} ranks"
    note = f"most of it: {found.limit}"
    return Row(
        what,
        found.round,
        fastest,
        found.round / fastest,
        low,
        high,
        np.nan,
        len(seconds),
        None,
        note,
    )


def _measured(config: Path) -> Profile:
    configure(torch.device("cpu"), 1)
    return measure(dry_run(schema.resolve(schema.raw(str(config), ()))))


def _faster(one: Profile, other: Profile) -> Profile:
    """That of the lower times: other work on the machine only adds.

    The time of a step and that of a client beside it come from one difference, so both are taken
    from the same measurement.
    """
    return min(one, other, key=lambda profile: profile.step + profile.client)
