"""Runs in which the last rank is given something else: what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from mpi.calls import runs

import mpifl
from mpifl.parallel.communicator import AgreedBadInput, Communicator
from mpifl.runner import build, plugins, provenance, session

load, network, deal = session.shared_data, build.network, build.partition
content_of = plugins.content_of


def with_other_seed(of: Callable) -> Callable:
    return lambda config, *rest: of(replace(config, seed=config.seed + 1), *rest)


def in_float64(*given):
    torch.set_default_dtype(torch.float64)
    try:
        return network(*given)
    finally:
        torch.set_default_dtype(torch.float32)


def wider(config, *rest):
    return network(replace(config, model=replace(config.model, hidden=(33,))), *rest)


def changed(*given):
    return replace(load(*given), checksum="0" * 64)


def edited(path: Path) -> bytes:
    return content_of(path) + b"\n# edited while the ranks read it\n"


CASES = {
    "option": ([], "local.lr=0.2"),
    "algorithm": ([], "algorithm=scaffold"),
    "version": ([patch.object(mpifl, "__version__", "0.0.0")], ""),
    "data": ([patch.object(session, "shared_data", changed)], ""),
    "partition": ([patch.object(build, "partition", with_other_seed(deal))], ""),
    "layout": ([patch.object(build, "network", wider)], ""),
    "type": ([patch.object(build, "network", in_float64)], ""),
    "plugins": ([patch.object(plugins, "content_of", edited)], ""),
    "threads": ([], "runtime.threads=2"),
}


def said(communicator: Communicator, config: str, out: Path, case: str) -> str:
    """What a run says in this case, on all ranks alike."""
    patches, assignment = CASES[case] if communicator.rank == communicator.size - 1 else ([], "")
    with ExitStack() as stack:
        for differing in patches:
            stack.enter_context(differing)
        try:
            target = session.Target(out / case)
            session.run(communicator, config, [assignment] if assignment else [], target)
        except AgreedBadInput as error:
            lines = communicator.allgather(str(error))
            assert len(set(lines)) == 1, lines
            assert not (out / case).exists()
            return lines[0]
    return ""


def told(communicator: Communicator, config: str, out: Path) -> dict[str, str]:
    """Case -> what a run says in it."""
    return {case: said(communicator, config, out, case) for case in CASES}


def with_processors(communicator: Communicator, config: Path, out: Path, kinds: list[str]) -> str:
    """What a run prints whose ranks have processors of these kinds."""
    with patch.object(provenance, "processor", lambda: kinds[communicator.rank]):
        code, printed = runs.run(communicator, config, out, [], resume=False)
    assert code == 0, printed
    return printed
