"""How long a Bcast and a Reduce take: from the latency and the bandwidth of each link.

Both are trees for short messages, and scatter and gather the pieces of long ones (Thakur,
Rabenseifner and Gropp 2005). Of p members and n bytes, latency a and bandwidth b:

    tree      ceil(log2 p) (a + n / b)
    pieces    (ceil(log2 p) + p - 1) a + 2 (p - 1)/p n / b

The nodes are one such group, and the ranks of a node another.
"""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpifl.options import BadInput
from mpifl.terminal import size

_PATTERN = re.compile(r"([\d.]+)\s*([kMGT]?)(B|bit)/s\s*,\s*([\d.]+)\s*(ns|us|ms|s)", re.ASCII)
_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_COPIED = 1 << 24  # bytes, more than a cache holds
_REPEATS = 3


@dataclass(frozen=True)
class Link:
    """What connects the members of a group."""

    latency: float
    """seconds until the first byte of a message is there"""
    broadcast: float
    """bytes a second of a Bcast"""
    reduce: float
    """bytes a second of a Reduce, with the additions"""

    def broadcast_seconds(self, count: float, members: int) -> float:
        """Of a Bcast of `count` bytes to all `members`."""
        return self._seconds(count / self.broadcast, members)

    def reduce_seconds(self, count: float, members: int) -> float:
        """Of a Reduce of `count` bytes of each of the `members`."""
        return self._seconds(count / self.reduce, members)

    def _seconds(self, transfer: float, members: int) -> float:
        if members < 2:
            return 0.0
        return min(start + factor * transfer for start, factor in self._ways(members))

    def _ways(self, members: int) -> list[tuple[float, float]]:
        """Of each algorithm: seconds of latency, and how often the message is transferred."""
        rounds = math.ceil(math.log2(members))
        tree = (rounds * self.latency, float(rounds))
        pieces = ((rounds + members - 1) * self.latency, 2 * (members - 1) / members)
        return [tree, pieces]

    def bandwidth(self, count: float, members: int, seconds: float) -> float:
        """The bytes a second with which `count` bytes would take so many `seconds`."""
        transfers = [(seconds - start) / factor for start, factor in self._ways(members)]
        return count / max(*transfers, 1e-9)


@dataclass(frozen=True)
class Network:
    """The links of a cluster."""

    between: Link
    """of the nodes"""
    within: Link
    """of the ranks of one node, through its memory"""
    source: str
    """where the figures are from, in words"""

    def broadcast_seconds(self, count: float, nodes: int, ranks_per_node: int) -> float:
        """Of a Bcast of `count` bytes to all ranks."""
        between = self.between.broadcast_seconds(count, nodes)
        return between + self.within.broadcast_seconds(count, ranks_per_node)

    def reduce_seconds(self, count: float, nodes: int, ranks_per_node: int) -> float:
        """Of a Reduce of `count` bytes of every rank."""
        within = self.within.reduce_seconds(count, ranks_per_node)
        return within + self.between.reduce_seconds(count, nodes)


ASSUMED = "10GB/s,2us"
"""of the network between nodes, where nothing is known: 100 Gbit/s, less what protocols take"""


def network(given: tuple[str, ...]) -> Network:
    """From texts such as "25GB/s,2us", and files that `mpifl doctor --save` has written.

    What is not given is assumed (between nodes) or measured (within one). Raises BadInput.
    """
    between = _link(ASSUMED)
    within = _memory()
    sources = [
        f"between nodes {ASSUMED} (assumed)",
        "within a node, a copy of memory measured here",
    ]
    for text in given:
        if _PATTERN.fullmatch(text.strip()):
            between = _link(text)
            sources[0] = f"between nodes {text} (given)"
            continue
        link, nodes, ranks = _measured(Path(text))
        if nodes > 1:
            between = link
            sources[0] = f"between nodes as on {nodes} nodes of {text}"
        else:
            within = link
            sources[1] = f"within a node as among {ranks} ranks of {text}"
    return Network(between, within, "; ".join(sources))


def _link(text: str) -> Link:
    found = _PATTERN.fullmatch(text.strip())
    assert found is not None
    number, prefix, kind, latency, unit = found.groups()
    try:
        speed = float(number) * _PREFIXES[prefix] / (8 if kind == "bit" else 1)
        seconds = float(latency) * _SECONDS[unit]
    except ValueError:
        raise _mistake(text) from None
    if speed <= 0:
        raise _mistake(text)
    return Link(seconds, speed, speed)


def _mistake(text: str, why: str = "") -> BadInput:
    return BadInput(
        f"--network: expected a bandwidth and a latency such as 25GB/s,2us, or a file of `mpifl "
        f"doctor --save`; got {text!r}{why}"
    )


def _memory() -> Link:
    """A node's memory: a message is copied into it and out of it."""
    source = np.ones(_COPIED // 8)
    target = np.empty_like(source)
    seconds = []
    for _ in range(_REPEATS + 1):
        began = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - began)
    speed = _COPIED / min(seconds) / 2
    return Link(2e-6, speed, speed)


def _measured(path: Path) -> tuple[Link, int, int]:
    """The link that fits what `doctor` has measured, the number of nodes, and of ranks."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _fitted(found), int(found["nodes"]), int(found["ranks"])
    except OSError as problem:
        raise _mistake(str(path), f" ({problem.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise _mistake(str(path), ", which is no such file") from None


def _fitted(found: dict[str, Any]) -> Link:
    """Latency by the shortest message, bandwidths by the longest."""
    members = int(found["nodes"]) if int(found["nodes"]) > 1 else int(found["ranks"])
    if members < 2:
        raise ValueError("one rank sends no messages")
    rows = sorted(found["messages"], key=lambda row: row["broadcast"])
    rounds = math.ceil(math.log2(members))
    latency = float(rows[0]["broadcast_seconds"]) / rounds
    last = rows[-1]
    bare = Link(latency, 1.0, 1.0)
    broadcast = bare.bandwidth(last["broadcast"], members, last["broadcast_seconds"])
    reduce = bare.bandwidth(last["reduce"], members, last["reduce_seconds"])
    return Link(latency, broadcast, reduce)


def described(link: Link) -> str:
    """A link in words."""
    return f"{size(link.broadcast)}/s, {1e6 * link.latency:.3g} us"
