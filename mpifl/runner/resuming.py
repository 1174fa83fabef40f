"""What may differ between a stopped run and its resume, beside the config: told, or refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import NamedTuple

from mpifl.config import toml
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse
from mpifl.runner import stored_plugins
from mpifl.runner.provenance import Facts, without_number
from mpifl.runner.schema import Config
from mpifl.schedules import Schedule
from mpifl.store import Run, StoredPlugin
from mpifl.store.contents import OTHER_PLUGINS, OTHER_SCHEDULE, OTHER_SCHEDULE_UNTIL

_MOVES_BITS = {
    "version_mpifl": "mpifl",
    "version_torch": "torch",
    "version_numpy": "numpy",
    "processor": "processor",
    "cpu_capability": "CPU",
    "device": "device",
    "threads": "threads of a rank",
}
"""what the promise of equal bits depends on, by its name in the provenance, in words"""


class Mark(NamedTuple):
    """Whether a run's first rounds had another schedule, or other plugins, than its later ones."""

    text: str = ""
    """in words; empty: they had not"""
    until: int = 0
    """the last round that had it"""
    plugins: str = ""
    """how the plugins were others, in words; empty: they were not"""

    @property
    def in_words(self) -> str:
        """Both; empty for a run that needs no mark."""
        return "; ".join(text for text in (self.text, self.plugins) if text)

    def attributes(self) -> dict[str, str | int]:
        """As it is stored with the run; nothing for a run that needs no mark."""
        found: dict[str, str | int] = {}
        if self.text:
            found = {OTHER_SCHEDULE: self.text, OTHER_SCHEDULE_UNTIL: self.until}
        if self.plugins:
            found[OTHER_PLUGINS] = self.plugins
        return found


def mark_of(stored: Run) -> Mark:
    """The mark that a run has."""
    until = stored.attrs.get(OTHER_SCHEDULE_UNTIL)
    return Mark(stored.other_schedule, until if isinstance(until, int) else 0)


def other_schedule(stored: Run, config: Config, round: int) -> Mark:
    """The mark that the run needs when it continues after `round` with this config.

    It needs one where a factor of the rounds so far would be another now: with another number of
    rounds, or by another version of mpifl.
    """
    if round == 0:  # all rounds are trained again
        return Mark()
    old = mark_of(stored)
    begun = range(old.until + 1, round + 1)
    if _factors_differ(stored, config, begun):
        rounds = _rounds(stored, config)
        text = f"after round {round} under the schedule of {config.rounds} rounds, not {rounds}"
    elif _version_differs(stored, config, begun):
        text = f"after round {round} with the schedules of another version of mpifl"
    else:
        return old
    if old.text:
        text = f"{old.text}; {text}"
    return Mark(text, round)


def other_plugins(stored: Run, now: Sequence[StoredPlugin], round: int) -> str:
    """The mark about plugins that the run needs when it continues after `round` with `now`."""
    if round == 0:
        return ""
    marks = [str(stored.attrs.get(OTHER_PLUGINS, ""))]
    found = stored_plugins.difference(stored, now)
    if found:
        marks.append(f"after round {round} {found}")
    return "; ".join(mark for mark in marks if mark)


def refusal(stored: Run, config: Config, round: int) -> str:
    """Why a run is not continued with another schedule, in a line."""
    allowed = "a new run, or --allow-other-schedule, which continues and marks the run in tables"
    begun = range(mark_of(stored).until + 1, round + 1)
    if _factors_differ(stored, config, begun):
        return (
            f"{stored.path}: rounds: expected {_rounds(stored, config)}, since rounds 1 to {round} "
            f"were trained with the schedule of so many; got {config.rounds}; allowed: {allowed}"
        )
    return (
        f"{stored.path}: schedules: expected the rates and strengths that rounds 1 to {round} were "
        f"trained with; got others, of another version of mpifl; allowed: {allowed}"
    )


def _rounds(stored: Run, config: Config) -> int:
    """How many rounds the stopped run was to have."""
    return int(toml(stored.config, str(stored.path)).get("rounds", config.rounds))


def _schedules(part: object) -> Iterator[Schedule]:
    """All schedules in a config, or in a part of it."""
    if isinstance(part, Config):
        yield from _schedules(parse(part.local.loss, LOSSES))
    if isinstance(part, Schedule):
        yield part
    elif isinstance(part, tuple):
        for item in part:
            yield from _schedules(item)
    elif is_dataclass(part):
        for option in fields(part):
            yield from _schedules(getattr(part, option.name))


def _factors_differ(stored: Run, config: Config, begun: range) -> bool:
    """Whether a schedule has other factors in these rounds with the new number of rounds."""
    rounds = _rounds(stored, config)
    for schedule in _schedules(config):
        for number in begun:
            if schedule(number, rounds) != schedule(number, config.rounds):
                return True
    return False


def schedules_of_0_1(run: Run, config: Config) -> bool:
    """Whether rounds of a run were trained by version 0.1, whose schedules had other factors."""
    last = int(run.rounds["round"].max(initial=0))
    return _factors_of_0_1_differ(run, config, range(1, last + 1))


def _version_differs(stored: Run, config: Config, begun: range) -> bool:
    """Whether another version of mpifl trained these rounds, with other factors than now."""
    return _factors_of_0_1_differ(stored, config, begun) or _rates_differ(stored, config, begun)


def _factors_of_0_1_differ(stored: Run, config: Config, begun: range) -> bool:
    rounds = _rounds(stored, config)
    for number in begun:
        if not stored.version_of(number).startswith("0.1."):
            continue
        for schedule in _schedules(config):
            if schedule.in_version_0_1(number, rounds) != schedule(number, rounds):
                return True
    return False


def _rates_differ(stored: Run, config: Config, begun: range) -> bool:
    """Whether the local learning rates stored for these rounds are others now."""
    if "lr" not in stored.rounds:
        return False
    rates = zip(stored.rounds["round"].tolist(), stored.rounds["lr"].tolist(), strict=True)
    for number, rate in rates:
        now = config.local.lr * config.local.schedule(number, config.rounds)
        if number in begun and not math.isclose(rate, now, rel_tol=1e-9, abs_tol=1e-300):
            return True
    return False


def differences(stored: Run, facts: Facts, round: int) -> list[str]:
    """What does not stop a resume, but the user should know of, a line each."""
    notes = []
    if "data_checksum" not in stored.provenance:
        notes.append(
            f"{stored.path} stored no checksum of its data: compared were the partition, and the "
            "names and options of the data"
        )
    for name, what in _MOVES_BITS.items():
        before = _kinds(stored.provenance.get(name))
        now = _kinds(facts[name])
        if before and before != now:
            notes.append(
                f"{what}: {', '.join(sorted(now))}, where the run was begun with "
                f"{', '.join(sorted(before))}: the bits may differ from those of one never stopped"
            )
    absent = ", ".join(str(saved) for saved in stored.absent_rounds() if saved <= round)
    if absent:
        notes.append(f"{stored.path}: the weights saved at round {absent} are absent")
    return notes


def _kinds(value: object) -> set[str]:
    """What a fact says, each different thing once; of devices, the GPUs without their numbers."""
    if value is None:
        return set()
    items = value if isinstance(value, list) else [value]
    kinds = {without_number(str(item)) for item in items}
    gpus = {kind for kind in kinds if kind.startswith("cuda")}
    return gpus or kinds
